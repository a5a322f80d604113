import fc from "fast-check";
import { createRequire } from "node:module";
import { expect, test } from "vitest";
import { Random, unwrap } from "../base/index.ts";
import { binsOf } from "./bins.ts";
import { BoundFinder } from "./bound.ts";
import { groupLoads } from "./groups.ts";
import { layerBound } from "./layer-bound.ts";
import { layerLoads } from "./loads.ts";
import { perfectMatching } from "./matching.ts";
import { checkPlacement, layerSlots, maxOverMean } from "./placement.ts";
import { plan } from "./plan.ts";
import { makeShape } from "./shape.ts";
import { makeUpLoads } from "./synthetic.ts";
import { exactTime } from "./testing/exact.ts";

/** Every way to pair the vertices. */
function pairings(left: readonly number[]): [number, number][][] {
  const [first, ...others] = left;
  if (first === undefined) return [[]];
  return others.flatMap((b) =>
    pairings(others.filter((v) => v !== b)).map((rest): [number, number][] => [[first, b], ...rest]),
  );
}

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

test("a perfect matching is found exactly where one of all pairings is one", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(2, 4, 6, 8),
      fc.double({ min: 0.1, max: 0.7, noNaN: true }),
      fc.nat(),
      (size, share, seed) => {
        const random = new Random(seed);
        const edges = range(size * size).map(() => random.next() < share);
        const joined = (a: number, b: number) => edges[Math.max(a, b) * size + Math.min(a, b)] === true;
        const found = perfectMatching(size, joined);
        const exists = pairings(range(size)).some((pairs) => pairs.every(([a, b]) => joined(a, b)));
        expect(found !== undefined).toBe(exists);
        found?.forEach((b, a) => {
          expect(found[b]).toBe(a);
          expect(joined(a, b)).toBe(true);
        });
      },
    ),
    { numRuns: 400 },
  );
});

test("two groups a node: the bound is the least of all pairings, each as slow as its slowest pair", () => {
  fc.assert(
    fc.property(fc.constantFrom(0.5, 1, 1.5), fc.constantFrom(2, 3, 4), fc.nat(), (s, nodes, seed) => {
      const experts = nodes * 2 * 6;
      const ranks = nodes * 4;
      const shape = unwrap(makeShape({ experts, ranks, slots: experts + ranks, nodes, groups: 2 * nodes }));
      const loads = makeUpLoads(1, experts, { kind: "zipf", s }, seed, 100_000).values;
      const finder = new BoundFinder(binsOf(shape, 0, 4, 12));
      const slowest = (pairs: [number, number][]) =>
        Math.max(...pairs.map((pair) => finder.find(groupLoads(shape, loads, pair)).time));
      const best = Math.min(...pairings(range(2 * nodes)).map(slowest));
      const bound = layerBound(shape, loads).time;
      // Each pair's bound is searched to 1.0005.
      expect(bound).toBeLessThanOrEqual(best * 1.0011);
      expect(bound).toBeGreaterThanOrEqual(best / 1.0011);
    }),
    { numRuns: 60 },
  );
});

/** Layers of a few ranks with steep loads and few spare slots, where copies of the heaviest leave little room. */
const steep = (count: number) => {
  const random = new Random(12);
  return range(count).map(() => {
    const ranks = random.int(2, 4);
    const slots = ranks * random.int(2, Math.floor(12 / ranks));
    const experts = Math.max(slots / ranks, slots - random.int(1, 4));
    const loads = makeUpLoads(
      1,
      experts,
      { kind: "zipf", s: random.pick([1, 1.5, 2]) },
      random.uint32(),
      10_000,
    );
    return { shape: unwrap(makeShape({ experts, ranks, slots })), loads };
  });
};

test("steep loads on few ranks: arrangements raise the bound, never above the optimum, and most often to it", () => {
  let raised = 0;
  let exact = 0;
  for (const { shape, loads } of steep(80)) {
    const optimum = exactTime(shape, loads.values);
    const bound = layerBound(shape, loads.values);
    expect(bound.time).toBeLessThanOrEqual(optimum * (1 + 1e-9));
    if (bound.kind === "arrangement") raised++;
    if (bound.time * 1.001 >= optimum) exact++;
    const { placement, layers } = unwrap(plan(loads, shape, { goal: 1 }));
    unwrap(checkPlacement(placement));
    const time = ((layers[0] as { ratio: number }).ratio / bound.ratio) * bound.time;
    expect(time).toBeGreaterThanOrEqual(optimum * (1 - 1e-9));
    expect(time).toBeLessThanOrEqual(optimum * 1.005);
  }
  expect(raised).toBeGreaterThan(40);
  expect(exact).toBeGreaterThan(60);
}, 120_000);

/** The solver is a CommonJS module whose types say otherwise. */
const loadHighs = createRequire(import.meta.url)("highs") as () => Promise<import("highs").Highs>;

/** Least slowest time with copies, as a mixed-integer program: y = expert e has c copies, z = one of them is on rank r. */
function withCopies(loads: Float64Array, ranks: number, each: number): string {
  const ids = range(loads.length);
  const bins = range(ranks);
  const some = range(ranks).map((c) => c + 1);
  const share = (e: number, c: number) => (loads[e] as number) / c;
  return [
    "Minimize",
    " t",
    "Subject To",
    ...ids.map((e) => ` one${e}: ${some.map((c) => `y${e}_${c}`).join(" + ")} = 1`),
    ...ids.flatMap((e) =>
      some.map(
        (c) => ` all${e}_${c}: ${bins.map((r) => `z${e}_${c}_${r}`).join(" + ")} - ${c} y${e}_${c} = 0`,
      ),
    ),
    ...bins.map(
      (r) => ` full${r}: ${ids.flatMap((e) => some.map((c) => `z${e}_${c}_${r}`)).join(" + ")} = ${each}`,
    ),
    ...bins.map(
      (r) =>
        ` load${r}: ${ids.flatMap((e) => some.map((c) => `${share(e, c)} z${e}_${c}_${r}`)).join(" + ")} - t <= 0`,
    ),
    "Binary",
    ` ${ids.flatMap((e) => some.flatMap((c) => [`y${e}_${c}`, ...bins.map((r) => `z${e}_${c}_${r}`)])).join(" ")}`,
    "End",
  ].join("\n");
}

test("a mixed-integer solver agrees: bound <= optimum <= plan, with copies", async () => {
  const solver = await loadHighs();
  for (const { shape, loads } of steep(6)) {
    const solved = solver.solve(withCopies(loads.values, shape.ranks, shape.slots / shape.ranks), {
      time_limit: 20,
    });
    expect(solved.Status).toBe("Optimal");
    expect(exactTime(shape, loads.values)).toBeCloseTo(solved.ObjectiveValue, 3);
    expect(layerBound(shape, loads.values).time).toBeLessThanOrEqual(solved.ObjectiveValue * (1 + 1e-6));
  }
}, 240_000);

test("384 experts in 16 groups on 8 nodes of 8 ranks: every layer within 1.005 of its bound, the same twice", () => {
  const shape = unwrap(makeShape({ experts: 384, ranks: 64, slots: 448, nodes: 8, groups: 16 }));
  for (const skew of [
    { kind: "lognormal", cv: 0.5 },
    { kind: "lognormal", cv: 1 },
    { kind: "zipf", s: 0.9 },
    { kind: "zipf", s: 1.2 },
  ] as const) {
    const loads = makeUpLoads(20, 384, skew, 3);
    const { placement, layers } = unwrap(plan(loads, shape));
    unwrap(checkPlacement(placement));
    expect(unwrap(plan(loads, shape)).placement.slots).toEqual(placement.slots);
    layers.forEach((layer, l) => {
      expect(layer.toBound).toBeLessThanOrEqual(1.005);
      const bound = layerBound(shape, layerLoads(loads, l));
      expect(layer.bound).toEqual(bound);
      expect(maxOverMean(shape, layerSlots(placement, l), layerLoads(loads, l))).toBeCloseTo(layer.ratio, 9);
    });
  }
});
