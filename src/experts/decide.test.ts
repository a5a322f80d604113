import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Random, unwrap } from "../base/index.ts";
import type { CostModel } from "./cost.ts";
import { decide } from "./decide.ts";
import { forecastLayer } from "./forecast.ts";
import { makeLoads } from "./loads.ts";
import { noiseFloor, overDispersion } from "./noise.ts";
import { layerSlots, maxOverMean, startPlacement } from "./placement.ts";
import { rebalance } from "./rebalance.ts";
import { makeShape } from "./shape.ts";
import { makeUpHistory } from "./synthetic.ts";

const shape = unwrap(makeShape({ experts: 64, ranks: 8, slots: 72, nodes: 2 }));
const cost: CostModel = {
  secondsPerToken: 1e-6,
  bytesPerExpert: 1e8,
  nodeBytesPerSecond: 2e11,
  networkBytesPerSecond: 5e10,
};
const recipe = {
  layers: 3,
  experts: 64,
  steps: 24,
  tokens: 400_000,
  skew: { kind: "lognormal", cv: 0.7 } as const,
  keep: 0.995,
  wander: 0.05,
  overDispersion: 2,
  seed: 3,
};
const start = startPlacement([0, 1, 2], shape);
const act = { mode: "act", horizonSteps: 500 } as const;

describe("the controller", () => {
  test("moves on persistent skew, and the command holds the new slots", () => {
    const decision = unwrap(decide(makeUpHistory(recipe), start, cost, act));
    expect(decision.action).toBe("act");
    expect(decision.forecast.paybackSteps).toBeLessThan(10);
    for (const [id, slots] of Object.entries(decision.command?.placement ?? {})) {
      expect(slots).toEqual(Array.from(layerSlots(decision.placement, Number(id))));
    }
    expect(decision.line.en).toMatch(/^move \d+ experts in 3 of 3 layers/);
    expect(decision.line.zh).toMatch(/^搬動 3\/3 層/);
  });

  test("a cost that is hardly known is told as such, not as a number of 73 digits", () => {
    const spread = { token: 98, move: 0.2 };
    const decision = unwrap(decide(makeUpHistory(recipe), start, { ...cost, spread }, { ...act, safety: 0 }));
    expect(decision.line.en).toMatch(/ paid back in [\d.]+ steps \(0\.0 to ∞\)$/);
  });

  test("the forecast saving is within 20 % of what the next steps show", () => {
    const history = makeUpHistory({ ...recipe, steps: 60 });
    const decision = unwrap(decide(history.slice(0, 24), start, cost, act));
    let saved = 0;
    for (const loads of history.slice(24)) {
      for (let l = 0; l < 3; l++) {
        const row = loads.values.subarray(l * 64, (l + 1) * 64);
        const tokens = row.reduce((sum, w) => sum + w, 0) / shape.ranks;
        const gain =
          maxOverMean(shape, layerSlots(start, l), row) -
          maxOverMean(shape, layerSlots(decision.placement, l), row);
        saved += (gain * tokens * cost.secondsPerToken) / 36;
      }
    }
    expect(decision.forecast.savedSecondsPerStep / saved).toBeGreaterThan(0.8);
    expect(decision.forecast.savedSecondsPerStep / saved).toBeLessThan(1.2);
  });

  test("advises without a command", () => {
    const decision = unwrap(decide(makeUpHistory(recipe), start, cost, { ...act, mode: "advise" }));
    expect(decision.action).toBe("advise");
    expect(decision.command).toBeUndefined();
    expect(decision.line.en).toContain("would move");
  });

  test("stays on a balanced run, whatever the seed", () => {
    for (let seed = 0; seed < 20; seed++) {
      const history = makeUpHistory({
        ...recipe,
        skew: { kind: "zipf", s: 0 },
        wander: 0,
        tokens: 40_000,
        seed,
      });
      expect(unwrap(decide(history, start, cost, act)).action).toBe("stay");
    }
  });

  test("stays when the move cannot pay back, and right after it has moved", () => {
    const history = makeUpHistory(recipe);
    const dear = { ...cost, bytesPerExpert: 1e14 };
    const kept = unwrap(decide(history, start, dear, act));
    expect([kept.action, kept.placement]).toEqual(["stay", start]);
    expect(unwrap(decide(history, start, cost, { ...act, horizonSteps: 0 })).action).toBe("stay");
    const { placement } = unwrap(decide(history, start, cost, act));
    expect(unwrap(decide(history, placement, cost, act)).action).toBe("stay");
  });

  test("a short history and loads of another model are coded errors", () => {
    const history = makeUpHistory(recipe);
    const codeOf = (result: ReturnType<typeof decide>) => (result.ok ? "ok" : result.error.code);
    expect(codeOf(decide([], start, cost, act))).toBe("EXPERTS_HISTORY");
    expect(codeOf(decide(history.slice(0, 1), start, cost, act))).toBe("EXPERTS_HISTORY");
    const other = makeUpHistory({ ...recipe, experts: 32 });
    expect(codeOf(decide(other, start, cost, act))).toBe("EXPERTS_PLACEMENT_OTHER");
    expect(codeOf(decide([...history, ...other], start, cost, act))).toBe("EXPERTS_HISTORY");
    const broken = { ...start, slots: start.slots.slice().fill(0) };
    expect(codeOf(decide(history, broken, cost, act))).toBe("EXPERTS_PLACEMENT_INVALID");
  });

  test("counts the slowest pipeline stage only", () => {
    const loads = makeUpHistory(recipe)[0] as ReturnType<typeof makeUpHistory>[0];
    const one = unwrap(rebalance(start, loads, cost, { horizonSteps: 1e6 })).forecast;
    const staged = unwrap(
      rebalance(start, loads, { ...cost, stageOf: [0, 1, 2] }, { horizonSteps: 1e6 }),
    ).forecast;
    expect(staged.savedSecondsPerStep).toBeLessThan(one.savedSecondsPerStep);
    expect(staged.savedSecondsPerStep).toBeGreaterThan(0);
  });
});

describe("forecast and noise", () => {
  test("a steady layer is forecast by a long mean, a wandering one by the last step", () => {
    const rows = (keep: number, wander: number, overDispersion: number) =>
      makeUpHistory({ ...recipe, layers: 1, steps: 80, keep, wander, overDispersion }).map(
        (loads) => loads.values,
      );
    expect(forecastLayer(rows(0.5, 0, 20)).forecaster).toEqual({ kind: "mean", keep: 0.97 });
    const fast = forecastLayer(rows(0.98, 1, 0.1));
    expect(fast.forecaster).toEqual({ kind: "last" });
    expect(fast.halfLifeSteps).toBeLessThan(80);
  });

  test("a forecast keeps the last step's tokens", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.nat(1000), { minLength: 4, maxLength: 4 }), { minLength: 1 }),
        (rows) => {
          const { loads } = forecastLayer(rows.map((row) => Float64Array.from(row)));
          const sum = (row: ArrayLike<number>) => Array.from(row).reduce((all, w) => all + w, 0);
          expect(sum(loads)).toBeCloseTo(sum(rows.at(-1) as number[]), 6);
          expect(Array.from(loads).every((w) => w >= 0)).toBe(true);
        },
      ),
    );
  });

  test("the noise floor is what equal ranks show by chance", () => {
    const random = new Random(5);
    const [ranks, tokens] = [64, 2000];
    let sum = 0;
    for (let draw = 0; draw < 60; draw++) {
      const received = new Int32Array(ranks);
      for (let t = 0; t < ranks * tokens; t++) {
        const r = random.int(0, ranks - 1);
        received[r] = (received[r] as number) + 1;
      }
      sum += Math.max(...received) / tokens;
    }
    // The formula is the leading term of the expected maximum, which it overstates by a fifth at 64 ranks.
    const seen = sum / 60 - 1;
    expect(noiseFloor(ranks, tokens) - 1).toBeGreaterThan(seen);
    expect(noiseFloor(ranks, tokens) - 1).toBeLessThan(seen * 1.35);
  });

  test("over-dispersion is measured back", () => {
    for (const phi of [1, 8]) {
      const history = makeUpHistory({ ...recipe, layers: 1, steps: 200, wander: 0, overDispersion: phi });
      expect(overDispersion(history.map((loads) => loads.values)) / phi).toBeCloseTo(1, 1);
    }
  });

  test("an empty layer stays", () => {
    const empty = unwrap(makeLoads([Array.from({ length: 64 }, () => 0)]));
    const one = startPlacement([0], shape);
    expect(unwrap(decide([empty, empty], one, cost, act)).action).toBe("stay");
  });
});
