import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Schedule } from "../layout.ts";
import {
  buildOrder,
  chunksOf,
  type Order,
  PASS,
  passKind,
  passMicro,
  passStage,
  scheduleProblem,
  simulate,
  simulateLong,
  simulateShared,
  type StageCosts,
} from "./index.ts";

const SCHEDULES: readonly Schedule[] = ["gpipe", "1f1b", "interleaved1f1b", "zbh1", "zbv", "dualpipev"];

function costs(stages: number, at: (stage: number) => [number, number, number], hop = 0): StageCosts {
  const cells = Array.from({ length: stages }, (_, stage) => at(stage));
  return {
    forward: Float64Array.from(cells, ([f]) => f),
    backward: Float64Array.from(cells, ([, b]) => b),
    weight: Float64Array.from(cells, ([, , w]) => w),
    forwardComm: new Float64Array(stages),
    backwardComm: new Float64Array(stages),
    hop: new Float64Array(stages).fill(hop),
    blockingHops: false,
    pairSlowdown: 0,
  };
}
const equal = (order: Order, f: number, b: number, w = 0) => costs(order.stages, () => [f, b, w]);

/** Any schedule with counts it accepts, and uneven stage times. */
const anyCase = fc
  .record({
    schedule: fc.constantFrom(...SCHEDULES),
    pp: fc.integer({ min: 1, max: 6 }),
    vpp: fc.integer({ min: 2, max: 4 }),
    rounds: fc.integer({ min: 1, max: 5 }),
    seed: fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 72, maxLength: 72 }),
    hop: fc.integer({ min: 0, max: 3 }),
  })
  .map((given) => {
    const vpp = given.schedule === "interleaved1f1b" ? given.vpp : chunksOf(given.schedule, 1);
    return { ...given, vpp, micros: given.rounds * given.pp };
  })
  .filter(({ schedule, pp, vpp, micros }) => scheduleProblem(schedule, pp, vpp, micros) === undefined);

describe("orders", () => {
  test("every pass of every micro-batch stands once, on the rank of its stage", () => {
    fc.assert(
      fc.property(anyCase, ({ schedule, pp, vpp, micros }) => {
        const order = buildOrder(schedule, pp, vpp, micros);
        const seen = new Map<string, number>();
        for (let rank = 0; rank < pp; rank++) {
          for (let at = order.starts[rank] as number; at < (order.starts[rank + 1] as number); at++) {
            const word = order.passes[at] as number;
            const [kind, stage, micro] = [passKind(word), passStage(word), passMicro(word)];
            const turn = Math.floor(stage / pp);
            const folded = (schedule === "zbv" || schedule === "dualpipev") && turn === 1;
            expect(folded ? pp - 1 - (stage % pp) : stage % pp).toBe(rank);
            const bits = [1, 6, 2, 4, 1][kind] as number;
            const key = `${stage}:${micro}`;
            expect((seen.get(key) ?? 0) & bits).toBe(0);
            seen.set(key, (seen.get(key) ?? 0) | bits);
          }
        }
        expect(seen.size).toBe(order.stages * micros);
        for (const bits of seen.values()) expect(bits).toBe(7);
      }),
    );
  });

  test("counts a schedule cannot run are named", () => {
    expect(scheduleProblem("interleaved1f1b", 4, 2, 6)?.en).toContain("multiples of pp");
    expect(scheduleProblem("zbv", 4, 2, 3)?.en).toContain("at least 7");
    expect(scheduleProblem("dualpipev", 4, 1, 8)?.en).toContain("vpp must be 2");
    expect(scheduleProblem("1f1b", 4, 2, 8)?.en).toContain("vpp must be 1");
    expect(() => buildOrder("zbh1", 4, 2, 8)).toThrow(RangeError);
  });
});

describe("simulation", () => {
  test("passes of a rank never overlap and never start before their input", () => {
    fc.assert(
      fc.property(anyCase, ({ schedule, pp, vpp, micros, seed, hop }) => {
        const order = buildOrder(schedule, pp, vpp, micros);
        const cost = costs(order.stages, (s) => [seed[s] as number, (seed[s + 24] as number) + 5, 3], hop);
        const { start, end, seconds, busy, idle } = simulate(order, cost, true);
        if (!start || !end) throw new Error("no trace");
        const forwardEnd = new Map<string, number>();
        const backwardEnd = new Map<string, number>();
        for (let rank = 0; rank < pp; rank++) {
          let last = 0;
          for (let at = order.starts[rank] as number; at < (order.starts[rank + 1] as number); at++) {
            const word = order.passes[at] as number;
            const paired = at > 0 && passKind(order.passes[at - 1] as number) === PASS.forwardPaired;
            if (!paired) expect(start[at]).toBeGreaterThanOrEqual(last);
            last = end[at] as number;
            const key = `${passStage(word)}:${passMicro(word)}`;
            const kind = passKind(word);
            if (kind === PASS.forward || kind === PASS.forwardPaired) forwardEnd.set(key, last);
            else if (kind !== PASS.backwardWeight) backwardEnd.set(key, last);
          }
          expect((busy[rank] as number) + (idle[rank] as number)).toBeCloseTo(seconds, 6);
        }
        for (let at = 0; at < order.passes.length; at++) {
          const word = order.passes[at] as number;
          const [kind, stage, micro] = [passKind(word), passStage(word), passMicro(word)];
          const begin = (start[at] as number) + 1e-9;
          if (kind === PASS.backwardWeight) {
            expect(begin).toBeGreaterThan(backwardEnd.get(`${stage}:${micro}`) as number);
          } else if (kind === PASS.forward || kind === PASS.forwardPaired) {
            if (stage > 0)
              expect(begin).toBeGreaterThan((forwardEnd.get(`${stage - 1}:${micro}`) as number) + hop);
          } else {
            expect(begin).toBeGreaterThan(forwardEnd.get(`${stage}:${micro}`) as number);
            if (stage < order.stages - 1) {
              expect(begin).toBeGreaterThan((backwardEnd.get(`${stage + 1}:${micro}`) as number) + hop);
            }
          }
        }
      }),
    );
  });

  test("1F1B and GPipe idle (p - 1)(F + B)", () => {
    for (const schedule of ["gpipe", "1f1b"] as const) {
      for (const [p, m] of [
        [2, 2],
        [4, 4],
        [8, 32],
        [3, 17],
      ] as const) {
        const order = buildOrder(schedule, p, 1, m);
        expect(simulate(order, equal(order, 3, 5)).seconds).toBeCloseTo((m + p - 1) * 8, 9);
      }
    }
  });

  test("interleaving divides the idle time by the chunks", () => {
    for (const [p, v, m] of [
      [2, 2, 4],
      [4, 2, 8],
      [4, 3, 16],
      [8, 4, 32],
    ] as const) {
      const order = buildOrder("interleaved1f1b", p, v, m);
      expect(simulate(order, equal(order, 3, 5)).seconds).toBeCloseTo((m * v + p - 1) * 8, 9);
    }
  });

  test("ZB-H1 idles (p - 1)(F + Bin - W)", () => {
    for (const [p, m] of [
      [2, 8],
      [4, 12],
      [8, 32],
    ] as const) {
      const order = buildOrder("zbh1", p, 1, m);
      expect(simulate(order, equal(order, 4, 8, 4)).seconds).toBeCloseTo(m * 12 + (p - 1) * 4, 9);
      expect(simulate(order, equal(order, 4, 9, 4)).seconds).toBeCloseTo(m * 13 + (p - 1) * 5, 9);
    }
  });

  test("ZB-V has no bubble beyond its start when F = Bin = W", () => {
    for (const [p, m] of [
      [2, 8],
      [4, 16],
      [8, 32],
    ] as const) {
      const order = buildOrder("zbv", p, 2, m);
      const { seconds } = simulate(order, equal(order, 1, 2, 1));
      // Rank p - 1 waits p - 1 forwards for its first input; nothing else is lost.
      expect(seconds - m * 6).toBeLessThanOrEqual(p - 1 + 1e-9);
    }
  });

  test("DualPipeV beats 1F1B of the same depth and is near its published bubble", () => {
    for (const [p, m] of [
      [2, 8],
      [4, 16],
      [8, 40],
    ] as const) {
      const dual = buildOrder("dualpipev", p, 2, m);
      const plain = buildOrder("1f1b", p, 1, m);
      const seconds = simulate(dual, equal(dual, 1, 2, 1)).seconds;
      expect(seconds).toBeLessThan(simulate(plain, equal(plain, 2, 4)).seconds);
      // (p - 1)(F&B + B - 3W) with 2p stages on p ranks, B the whole backward.
      expect(seconds - m * 6).toBeLessThanOrEqual((p - 1) * (3 + 2 - 3) + 2);
    }
  });

  test("pairing hides communication, at most half of the pair", () => {
    const order = buildOrder("dualpipev", 4, 2, 32);
    const base = equal(order, 2, 4, 1);
    const open = {
      ...base,
      forwardComm: new Float64Array(8).fill(1),
      backwardComm: new Float64Array(8).fill(1),
    };
    expect(simulate(order, open).seconds).toBeLessThan(simulate(order, base).seconds);
  });

  test.each([
    { what: "equal stages", spread: 0 },
    { what: "nearly even stages", spread: 0.15 },
    { what: "any stages", spread: 1 },
  ])("a long step follows exactly from short ones: $what", ({ spread }) => {
    fc.assert(
      fc.property(anyCase, fc.boolean(), ({ schedule, pp, vpp, seed, hop }, blockingHops) => {
        const micros = pp * 40;
        const near = (value: number) => 10 + spread * (value - 10);
        const cost = {
          ...costs(pp * vpp, (s) => [near(seed[s] as number), near(seed[s + 24] as number) + 5, 3], hop),
          blockingHops,
        };
        const orderOf = (count: number) => buildOrder(schedule, pp, vpp, count);
        const exact = simulate(orderOf(micros), cost);
        const long = simulateLong(orderOf, cost, micros, pp);
        expect(Math.abs(long.seconds / exact.seconds - 1)).toBeLessThan(1e-9);
        for (let rank = 0; rank < pp; rank++) {
          expect(long.busy[rank]).toBeCloseTo(exact.busy[rank] as number, 4);
          expect(long.idle[rank]).toBeCloseTo(exact.idle[rank] as number, 4);
        }
      }),
      { numRuns: 100 },
    );
  });

  test("a long step is not simulated whole once stages are in step", () => {
    // ZB-V has slack between its ranks and settles later; it is simulated whole here.
    for (const schedule of ["1f1b", "interleaved1f1b", "zbh1", "dualpipev"] as const) {
      const vpp = schedule === "interleaved1f1b" ? 3 : chunksOf(schedule, 1);
      const asked: number[] = [];
      const orderOf = (count: number) => {
        asked.push(count);
        return buildOrder(schedule, 8, vpp, count);
      };
      const order = buildOrder(schedule, 8, vpp, 16);
      const cost = costs(order.stages, (s) => [s === order.stages - 1 ? 4 : 3, 6, 3], 0.25);
      simulateLong(orderOf, cost, 800, 8);
      expect([schedule, Math.max(...asked)]).toEqual([schedule, 80]);
    }
  });
});

describe("shared cores", () => {
  const given = anyCase.map((one) => {
    const order = buildOrder(one.schedule, one.pp, one.vpp, one.micros);
    const at = (stage: number): [number, number, number] => {
      const [f, b] = [one.seed[stage] as number, one.seed[stage + 36] as number];
      return [f, b, b / 3];
    };
    return { ...one, order, costs: { ...costs(order.stages, at, one.hop), blockingHops: one.hop === 2 } };
  });

  test("with a core for every process, the longest path and this agree", () => {
    fc.assert(
      fc.property(given, ({ order, costs: c, pp }) => {
        const own = simulate(order, c);
        const shared = simulateShared(order, c, { cores: 2 * pp, processes: 2 });
        expect(shared.seconds).toBeCloseTo(own.seconds, 6);
        own.busy.forEach((time, rank) => expect(shared.busy[rank]).toBeCloseTo(time, 6));
        own.sending.forEach((time, rank) => expect(shared.sending[rank]).toBeCloseTo(time, 6));
      }),
      { numRuns: 60 },
    );
  });

  test("no faster than all work on the cores there are, nor than cores of their own; on one core without a gap if messages take no time", () => {
    fc.assert(
      fc.property(given, fc.integer({ min: 1, max: 4 }), ({ order, costs: c, pp, hop }, cores) => {
        const own = simulate(order, c);
        const work = own.busy.reduce((sum, time) => sum + time, 0);
        const { seconds } = simulateShared(order, c, { cores, processes: 1 });
        expect(seconds).toBeGreaterThanOrEqual(Math.max(own.seconds, work / cores) * (1 - 1e-9));
        if (cores >= pp) expect(seconds).toBeCloseTo(own.seconds, 6);
        if (cores === 1 && hop === 0) expect(seconds).toBeCloseTo(work, 6);
        // Two processes that run side by side on twice the cores are as one on its own.
        expect(simulateShared(order, c, { cores: 2 * cores, processes: 2 }).seconds).toBeCloseTo(seconds, 6);
      }),
      { numRuns: 60 },
    );
  });
});
