import fc from "fast-check";
import { createRequire } from "node:module";
import { describe, expect, test } from "vitest";
import { Random, unwrap } from "../base/index.ts";
import { layerBound } from "./layer-bound.ts";
import { layerLoads, type Loads, makeLoads } from "./loads.ts";
import { plan } from "./plan.ts";
import { checkPlacement, layerSlots, maxOverMean } from "./placement.ts";
import { makeShape, type ShapeRequest } from "./shape.ts";
import { makeUpLoads } from "./synthetic.ts";
import { exactTime } from "./testing/exact.ts";

const EPLB = unwrap(
  makeLoads([
    [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
    [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
  ]),
);
const FLASHLB = unwrap(makeLoads([[600, 560, 120, 120, 20, 10, 10, 10]]));

const shapeOf = (request: ShapeRequest) => unwrap(makeShape(request));
const best = (loads: Loads, request: ShapeRequest) => unwrap(plan(loads, shapeOf(request), { goal: 1 }));

describe("golden cases", () => {
  test("EPLB's published layers under the group rule: 1.1694 and 1.2422", () => {
    const { layers } = best(EPLB, { experts: 12, ranks: 8, slots: 16, nodes: 2, groups: 4 });
    expect(layers.map((layer) => layer.ratio.toFixed(4))).toEqual(["1.1694", "1.2422"]);
    for (const { toBound } of layers) expect(toBound).toBeLessThanOrEqual(1.001);
  });

  test("EPLB's published layers without the rule: 1.0532 and 1.1903", () => {
    const { layers } = best(EPLB, { experts: 12, ranks: 8, slots: 16 });
    expect(layers.map((layer) => layer.ratio.toFixed(4))).toEqual(["1.0532", "1.1903"]);
    for (const { toBound } of layers) expect(toBound).toBeLessThanOrEqual(1.001);
  });

  test("FlashLB's example: 196.67, which is 1.0851 of the mean 181.25", () => {
    const { layers } = best(FLASHLB, { experts: 8, ranks: 8, slots: 16 });
    expect((layers[0] as { ratio: number }).ratio * 181.25).toBeCloseTo(590 / 3, 9);
  });
});

test("without replicas: 40 random small cases within 1 % of the proven optimum", () => {
  const random = new Random(40);
  const gaps: number[] = [];
  for (let i = 0; i < 40; i++) {
    const ranks = random.int(2, 4);
    const experts = ranks * random.int(2, Math.floor(12 / ranks));
    const shape = shapeOf({ experts, ranks });
    const cv = random.pick([0.3, 0.6, 1]);
    const loads = makeUpLoads(1, experts, { kind: "lognormal", cv }, random.uint32(), 10_000);
    const got = unwrap(plan(loads, shape, { goal: 1 }));
    const optimum = exactTime(shape, loads.values);
    const mean = loads.values.reduce((sum, w) => sum + w, 0) / ranks;
    gaps.push(((got.layers[0] as { ratio: number }).ratio * mean) / optimum);
  }
  expect(Math.max(...gaps)).toBeLessThanOrEqual(1.01);
  expect(Math.min(...gaps)).toBeGreaterThan(1 - 1e-9);
});

/** The solver is a CommonJS module whose types say otherwise. */
const loadHighs = createRequire(import.meta.url)("highs") as () => Promise<import("highs").Highs>;

test("the enumeration agrees with a mixed-integer solver", async () => {
  const solver = await loadHighs();
  const random = new Random(11);
  for (let i = 0; i < 2; i++) {
    const ranks = 3;
    const experts = 9;
    const w = Array.from({ length: experts }, () => random.int(1, 99));
    const x = (e: number, r: number) => `x${e}_${r}`;
    const ids = [...w.keys()];
    const bins = [0, 1, 2];
    const lines = [
      "Minimize",
      " t",
      "Subject To",
      ...ids.map((e) => ` one${e}: ${bins.map((r) => x(e, r)).join(" + ")} = 1`),
      ...bins.map((r) => ` full${r}: ${ids.map((e) => x(e, r)).join(" + ")} = ${experts / ranks}`),
      ...bins.map((r) => ` load${r}: ${ids.map((e) => `${w[e]} ${x(e, r)}`).join(" + ")} - t <= 0`),
      "Binary",
      ` ${ids.flatMap((e) => bins.map((r) => x(e, r))).join(" ")}`,
      "End",
    ];
    const solved = solver.solve(lines.join("\n"), { time_limit: 20 });
    expect(solved.Status).toBe("Optimal");
    expect(exactTime(shapeOf({ experts, ranks }), Float64Array.from(w))).toBeCloseTo(
      solved.ObjectiveValue,
      6,
    );
  }
});

const smallLayer = fc
  .record({
    ranks: fc.integer({ min: 1, max: 4 }),
    perRank: fc.integer({ min: 1, max: 3 }),
    spare: fc.integer({ min: 0, max: 4 }),
    kind: fc.constantFrom("even", "uneven", "groups"),
    seed: fc.integer(),
    loads: fc.array(fc.oneof(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 1000 })), {
      minLength: 12,
      maxLength: 12,
    }),
  })
  .map(({ ranks, perRank, spare, kind, seed, loads }) => {
    const random = new Random(seed);
    if (kind === "groups") {
      const request: ShapeRequest = {
        experts: 8,
        ranks: 4,
        slots: random.pick([8, 12]),
        nodes: 2,
        groups: 4,
      };
      return { request, loads: loads.slice(0, 8) };
    }
    if (kind === "uneven") {
      const slotsPerRank = Array.from({ length: ranks }, () => random.int(1, perRank));
      const total = slotsPerRank.reduce((sum, s) => sum + s, 0);
      const experts = random.int(Math.max(...slotsPerRank), total);
      const speed = slotsPerRank.map(() => random.pick([0.5, 1, 1, 2]));
      return { request: { experts, ranks, slotsPerRank, speed }, loads: loads.slice(0, experts) };
    }
    const experts = Math.max(perRank, ranks * perRank - spare);
    return { request: { experts, ranks, slots: ranks * perRank }, loads: loads.slice(0, experts) };
  });

test("any small layer: bound <= optimum <= plan, the plan keeps the rules, and is close", () => {
  fc.assert(
    fc.property(smallLayer, ({ request, loads: row }) => {
      const loads = unwrap(makeLoads([row]));
      const shape = shapeOf(request);
      const { placement, layers } = unwrap(plan(loads, shape, { goal: 1 }));
      unwrap(checkPlacement(placement));
      const optimum = exactTime(shape, loads.values);
      const bound = layerBound(shape, loads.values);
      expect(bound.time).toBeLessThanOrEqual(optimum * (1 + 1e-9));
      const ratio = maxOverMean(shape, layerSlots(placement, 0), loads.values);
      expect(ratio).toBeCloseTo((layers[0] as { ratio: number }).ratio, 9);
      if (optimum > 0) {
        const time = (ratio / bound.ratio) * bound.time;
        expect(time).toBeGreaterThanOrEqual(optimum * (1 - 1e-9));
        expect(time).toBeLessThanOrEqual(optimum * 1.05);
      }
    }),
    { numRuns: 80 },
  );
}, 120_000);

test("a rank with few slots leaves the others more than the mean, and the bound knows", () => {
  const row = [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86];
  const shape = shapeOf({ experts: 12, ranks: 4, slotsPerRank: [4, 4, 4, 1] });
  const loads = unwrap(makeLoads([row]));
  const bound = layerBound(shape, loads.values);
  // The last rank holds 183 at most; three ranks share the rest of 1,033.
  expect(bound).toMatchObject({ kind: "capacity", time: (1033 - 183) / 3 });
  const [planned] = unwrap(plan(loads, shape, { goal: 1 })).layers;
  expect(planned?.ratio).toBeGreaterThanOrEqual(bound.ratio);
  expect(planned?.ratio).toBeLessThan(bound.ratio * 1.005);
  // A fast rank of few slots too: half of all speed, one slot.
  const fast = shapeOf({ experts: 12, ranks: 4, slotsPerRank: [4, 4, 4, 1], speed: [1, 1, 1, 3] });
  expect(layerBound(fast, loads.values)).toMatchObject({ kind: "capacity", time: (1033 - 183) / 3 });
});

test("any plan of any size keeps the rules and is the same twice", () => {
  fc.assert(
    fc.property(
      fc.record({
        nodes: fc.constantFrom(1, 2, 4),
        perNode: fc.integer({ min: 1, max: 4 }),
        perRank: fc.integer({ min: 1, max: 6 }),
        spare: fc.integer({ min: 0, max: 1 }),
        grouped: fc.boolean(),
        skew: fc.oneof(
          fc.record({ kind: fc.constant("zipf" as const), s: fc.double({ min: 0, max: 2, noNaN: true }) }),
          fc.record({
            kind: fc.constant("lognormal" as const),
            cv: fc.double({ min: 0.01, max: 3, noNaN: true }),
          }),
        ),
        seed: fc.integer(),
      }),
      ({ nodes, perNode, perRank, spare, grouped, skew, seed }) => {
        const ranks = nodes * perNode;
        const experts = ranks * perRank;
        const slots = experts + (perRank + spare <= experts / (grouped ? nodes : 1) ? spare * ranks : 0);
        const shape = shapeOf({
          experts,
          ranks,
          slots,
          nodes,
          groups: grouped ? 2 * nodes : 1,
          ...odd(experts, nodes, grouped),
        });
        const loads = makeUpLoads(2, experts, skew, seed, 5000);
        const one = unwrap(plan(loads, shape));
        unwrap(checkPlacement(one.placement));
        expect(unwrap(plan(loads, shape)).placement.slots).toEqual(one.placement.slots);
        for (let l = 0; l < 2; l++) {
          const ratio = maxOverMean(shape, layerSlots(one.placement, l), layerLoads(loads, l));
          expect(ratio).toBeGreaterThanOrEqual(
            (one.layers[l] as { bound: { ratio: number } }).bound.ratio * (1 - 1e-9),
          );
        }
      },
    ),
    { numRuns: 100 },
  );
});

/** Groups must divide the experts. */
const odd = (experts: number, nodes: number, grouped: boolean) =>
  grouped && experts % (2 * nodes) !== 0 ? { groups: nodes } : {};

test("61 layers x 384 experts on 448 slots and 64 ranks: every layer within 1.005 of the bound", () => {
  const shape = shapeOf({ experts: 384, ranks: 64, slots: 448, nodes: 8 });
  for (const skew of [
    { kind: "lognormal", cv: 0.5 },
    { kind: "lognormal", cv: 1 },
    { kind: "zipf", s: 0.9 },
    { kind: "zipf", s: 1.2 },
  ] as const) {
    const { layers } = unwrap(plan(makeUpLoads(61, 384, skew, 3), shape));
    expect(Math.max(...layers.map((layer) => layer.toBound))).toBeLessThanOrEqual(1.005);
  }
});
