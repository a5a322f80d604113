import fc from "fast-check";
import { expect, test } from "vitest";
import { unwrap } from "../base/index.ts";
import { binsOf } from "./bins.ts";
import { layerBound } from "./layer-bound.ts";
import { layerLoads } from "./loads.ts";
import { migrateLayer } from "./migrate.ts";
import { keepSlots, layerMoves, matchRanks } from "./moves.ts";
import { dealOneEach } from "./one-each.ts";
import { checkPlacement, layerSlots, loadOfRanks, maxOverMean, startPlacement } from "./placement.ts";
import { plan } from "./plan.ts";
import { makeShape, type Shape } from "./shape.ts";
import { drift, makeUpLoads } from "./synthetic.ts";

const anyShape = fc
  .record({
    nodes: fc.constantFrom(1, 2),
    perNode: fc.integer({ min: 1, max: 4 }),
    perRank: fc.integer({ min: 2, max: 5 }),
    spare: fc.integer({ min: 0, max: 1 }),
    grouped: fc.boolean(),
  })
  .map(({ nodes, perNode, perRank, spare, grouped }) => {
    const ranks = nodes * perNode;
    const experts = ranks * perRank;
    const room = perRank + spare <= experts / (grouped ? nodes : 1);
    return unwrap(
      makeShape({
        experts,
        ranks,
        slots: experts + (room ? spare * ranks : 0),
        nodes,
        groups: grouped ? nodes : 1,
      }),
    );
  });

const check = (shape: Shape, row: Int32Array) =>
  unwrap(checkPlacement({ ids: [0], layers: 1, shape, slots: row }));

test("a migrated layer keeps the rules, never gets slower, and its curve is true", () => {
  fc.assert(
    fc.property(anyShape, fc.integer(), fc.double({ min: 0.1, max: 2, noNaN: true }), (shape, seed, cv) => {
      const loads = layerLoads(makeUpLoads(1, shape.experts, { kind: "lognormal", cv }, seed, 9000), 0);
      const before = startPlacement([0], shape).slots;
      const bound = layerBound(shape, loads);
      const held = before.slice();
      const moved = migrateLayer(shape, before, loads, bound.time * 1.005);
      expect(before).toEqual(held);
      check(shape, moved.slots);
      const transfers = layerMoves(shape, 0, before, moved.slots).length;
      expect(transfers).toBeLessThanOrEqual((moved.curve.at(-1) as { transfers: number }).transfers);
      const times = moved.curve.map((point) => point.time);
      expect(times.slice(0, -1)).toEqual(times.slice(0, -1).sort((a, b) => b - a));
      expect(maxOverMean(shape, moved.slots, loads)).toBeLessThanOrEqual(
        maxOverMean(shape, before, loads) * (1 + 1e-9),
      );
      const limited = migrateLayer(shape, before, loads, bound.time, 2);
      expect(layerMoves(shape, 0, before, limited.slots).length).toBeLessThanOrEqual(2 * shape.nodes);
      expect(migrateLayer(shape, before, loads, bound.time * 1.005).slots).toEqual(moved.slots);
    }),
    { numRuns: 200 },
  );
});

test("changes of nodes that the slowest one did not ask for are in the curve", () => {
  const shape = unwrap(makeShape({ experts: 64, ranks: 16, slots: 96, nodes: 4, groups: 4 }));
  const loads = layerLoads(makeUpLoads(1, 64, { kind: "lognormal", cv: 0.5 }, 17807, 9000), 0);
  const before = startPlacement([0], shape).slots;
  const moved = migrateLayer(shape, before, loads, layerBound(shape, loads).time * 1.005);
  expect(layerMoves(shape, 0, before, moved.slots)).toHaveLength(10);
  expect(moved.curve.at(-1)?.transfers).toBeGreaterThanOrEqual(10);
});

test("after drift the same balance costs at least 5 times fewer transfers than a plan from scratch", () => {
  const shape = unwrap(makeShape({ experts: 384, ranks: 64, slots: 448, nodes: 8 }));
  for (const { skew, change } of [
    ...[0.02, 0.1, 0.3].map((by) => ({ skew: { kind: "lognormal" as const, cv: 0.5 }, change: by })),
    { skew: { kind: "zipf" as const, s: 0.9 }, change: 0.3 },
  ]) {
    const loads = makeUpLoads(4, 384, skew, 5);
    const old = unwrap(plan(loads, shape)).placement;
    const now = drift(loads, change, 6);
    const fresh = unwrap(plan(now, shape, { goal: 1.005 }));
    let scratch = 0;
    let warm = 0;
    for (let l = 0; l < 4; l++) {
      const row = layerLoads(now, l);
      const before = layerSlots(old, l);
      const moved = migrateLayer(shape, before, row, layerBound(shape, row).time * 1.005);
      expect(maxOverMean(shape, moved.slots, row)).toBeLessThanOrEqual(
        layerBound(shape, row).ratio * 1.005001,
      );
      scratch += layerMoves(shape, l, before, layerSlots(fresh.placement, l)).length;
      warm += layerMoves(shape, l, before, moved.slots).length;
    }
    expect(scratch / warm).toBeGreaterThanOrEqual(5);
  }
});

test("one slot of each rank: the chosen experts fit whenever the search says so, and no choice fits better where ranks are few", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 4 }),
      fc.integer({ min: 1, max: 3 }),
      fc.integer(),
      (ranks, per, seed) => {
        const experts = ranks * per;
        const shape = unwrap(makeShape({ experts, ranks }));
        const bins = binsOf(shape, 0, ranks, experts);
        const loads = makeUpLoads(1, experts, { kind: "lognormal", cv: 0.8 }, seed, 1000).values;
        const before = startPlacement([0], shape).slots;
        // The slow twin: every choice of one slot a rank, dealt anew in every order.
        let least = Number.POSITIVE_INFINITY;
        for (let code = 0; code < per ** ranks; code++) {
          const slot = Array.from({ length: ranks }, (_, r) => r * per + (Math.floor(code / per ** r) % per));
          for (const order of permutations(ranks)) {
            const row = before.slice();
            slot.forEach((s, r) => {
              row[s] = before[slot[order[r] as number] as number] as number;
            });
            least = Math.min(least, Math.max(...loadOfRanks(shape, row, loads)));
          }
        }
        const dealt = dealOneEach(bins, before, loads, least * (1 + 1e-9), 0, shape.nodeOf);
        check(shape, dealt);
        for (let r = 0; r < ranks; r++) {
          const fresh = dealt.subarray(r * per, r * per + per).filter((e) => Math.floor(e / per) !== r);
          expect(fresh.length).toBeLessThanOrEqual(1);
        }
        expect(Math.max(...loadOfRanks(shape, dealt, loads))).toBeLessThanOrEqual(least * 1.1);
      },
    ),
    { numRuns: 60 },
  );
});

test("a good plan is left alone", () => {
  const shape = unwrap(makeShape({ experts: 64, ranks: 8, slots: 72 }));
  const loads = makeUpLoads(1, 64, { kind: "lognormal", cv: 0.7 }, 1);
  const { placement } = unwrap(plan(loads, shape));
  const moved = migrateLayer(
    shape,
    placement.slots,
    loads.values,
    layerBound(shape, loads.values).time * 1.005,
  );
  expect(moved.slots).toEqual(placement.slots);
});

test("renamed ranks are the same packing, and no renaming keeps more experts in place", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 4 }),
      fc.integer({ min: 1, max: 3 }),
      fc.integer(),
      (ranks, per, seed) => {
        const shape = unwrap(makeShape({ experts: ranks * per, ranks }));
        const before = unwrap(plan(makeUpLoads(1, ranks * per, { kind: "lognormal", cv: 1 }, seed), shape))
          .placement.slots;
        const after = unwrap(plan(makeUpLoads(1, ranks * per, { kind: "lognormal", cv: 1 }, seed + 1), shape))
          .placement.slots;
        const renamed = matchRanks(shape, before, after);
        check(shape, renamed);
        const rows = (row: Int32Array) =>
          Array.from({ length: ranks }, (_, r) =>
            [...row.subarray(r * per, (r + 1) * per)].sort((a, b) => a - b).join(),
          );
        expect(rows(renamed).sort()).toEqual(rows(after).sort());
        const moved = layerMoves(shape, 0, before, renamed).length;
        for (const order of permutations(ranks)) {
          const other = Int32Array.from(order.flatMap((r) => [...after.subarray(r * per, (r + 1) * per)]));
          expect(layerMoves(shape, 0, before, other).length).toBeGreaterThanOrEqual(moved);
        }
      },
    ),
    { numRuns: 60 },
  );
});

function permutations(n: number): number[][] {
  if (n === 0) return [[]];
  return permutations(n - 1).flatMap((rest) =>
    Array.from({ length: n }, (_, at) => [...rest.slice(0, at), n - 1, ...rest.slice(at)]),
  );
}

test("moves take an expert from a holder, on the same node if there is one", () => {
  const shape = unwrap(makeShape({ experts: 4, ranks: 4, slots: 8, nodes: 2 }));
  const before = Int32Array.from([0, 1, 2, 3, 0, 1, 2, 3]);
  const after = Int32Array.from([0, 2, 1, 3, 0, 1, 2, 3]);
  expect(layerMoves(shape, 7, before, after)).toEqual([
    { layer: 7, expert: 2, from: 1, to: 0, link: "node" },
    { layer: 7, expert: 1, from: 0, to: 1, link: "node" },
  ]);
  const swapped = Int32Array.from([1, 0, 3, 2, 0, 1, 2, 3]);
  keepSlots(shape, before, swapped);
  expect(swapped).toEqual(before);
});
