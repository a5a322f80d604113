import fc from "fast-check";
import { expect, test } from "vitest";
import { unwrap } from "../base/index.ts";
import { layerBound } from "./layer-bound.ts";
import { makeLoads } from "./loads.ts";
import { migrateLayer } from "./migrate.ts";
import { layerMoves } from "./moves.ts";
import { checkPlacement, copyCounts, loadOfRanks, type Placement, startPlacement } from "./placement.ts";
import { plan } from "./plan.ts";
import { rebalance } from "./rebalance.ts";
import { makeShape, type Shape } from "./shape.ts";
import { Standing } from "./standing.ts";
import { partTwins, twinSlots } from "./twins.ts";
import { binsOf } from "./bins.ts";

/** Ranks of different sizes and speeds, with few or many copies; sometimes groups that stay on their node. */
const anyShape: fc.Arbitrary<Shape> = fc
  .record({
    nodes: fc.integer({ min: 1, max: 3 }),
    sizes: fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 4 }),
    spare: fc.integer({ min: 0, max: 8 }),
    grouped: fc.boolean(),
    speeds: fc.array(fc.double({ min: 0.2, max: 2, noNaN: true }), { minLength: 12, maxLength: 12 }),
    mixed: fc.boolean(),
  })
  .map(({ nodes, sizes, spare, grouped, speeds, mixed }) => {
    const slotsPerRank = Array.from({ length: nodes }, () => sizes).flat();
    const total = slotsPerRank.reduce((sum, n) => sum + n, 0);
    const parts = grouped ? nodes : 1;
    const least = Math.max(...sizes) * parts;
    const experts = Math.max(least, Math.floor((total - spare) / parts) * parts);
    const speed = mixed ? { speed: speeds.slice(0, slotsPerRank.length) } : {};
    return unwrap(
      makeShape({ experts, ranks: slotsPerRank.length, nodes, groups: parts, slotsPerRank, ...speed }),
    );
  });

const anyLoad = fc.constantFrom(
  fc.constant(1),
  fc.constant(0),
  fc.integer({ min: 0, max: 2 }),
  fc.double({ min: 0, max: 1, noNaN: true }).map((x) => (x < 1e-9 ? 0 : x)),
  fc.double({ min: -190, max: 190, noNaN: true }).map((x) => 10 ** x),
  fc.double({ min: 1, max: 1 + 1e-12, noNaN: true }),
  fc.constantFrom(0, 0, 0, 1e9),
);
/** A shape, loads of an earlier and of this step, a goal, and which slots are made copies of which. */
const anyCase = fc
  .tuple(anyShape, anyLoad, fc.constantFrom(0, 0.5, 1, 1.005, 1.3))
  .chain(([shape, load, goal]) => {
    const row = fc.array(load, { minLength: shape.experts, maxLength: shape.experts });
    const slot = fc.nat({ max: shape.slots - 1 });
    return fc.record({
      shape: fc.constant(shape),
      goal: fc.constant(goal),
      earlier: row,
      now: row,
      planned: fc.boolean(),
      twins: fc.array(fc.tuple(slot, slot), { maxLength: 6 }),
    });
  });

const loadsOf = (row: readonly number[]) => unwrap(makeLoads([row]));
const times = (shape: Shape, row: Int32Array, loads: Float64Array) =>
  loadOfRanks(shape, row, loads).map((w, r) => w / (shape.speed[r] as number));

test("every migration ends, keeps the rules, and no point of its curve is slower than the one before", () => {
  fc.assert(
    fc.property(anyCase, ({ shape, goal, earlier, now, planned }) => {
      const loads = loadsOf(now).values;
      const before = planned
        ? unwrap(plan(loadsOf(earlier), shape)).placement.slots
        : startPlacement([0], shape).slots;
      const target = layerBound(shape, loads).time * goal;
      const moved = migrateLayer(shape, before, loads, target);
      unwrap(checkPlacement({ ids: [0], layers: 1, shape, slots: moved.slots }));
      const most = Math.max(...times(shape, before, loads));
      expect(Math.max(...times(shape, moved.slots, loads))).toBeLessThanOrEqual(most * (1 + 1e-9));
      const curve = moved.curve.map((point) => point.time);
      // The last point may be slower by what came back home, up to the target.
      for (let i = 1; i < curve.length - 1; i++) expect(curve[i]).toBeLessThanOrEqual(curve[i - 1] as number);
    }),
    { numRuns: 400 },
  );
});

test("a placement with experts twice on a rank is parted, and moved like any other", () => {
  let seen = 0;
  fc.assert(
    fc.property(anyCase, ({ shape, earlier, now, goal, twins }) => {
      const loads = loadsOf(now);
      const before = unwrap(plan(loadsOf(earlier), shape)).placement.slots.slice();
      const counts = copyCounts(shape.experts, before);
      for (const [from, to] of twins) {
        const [e, f] = [before[from] as number, before[to] as number];
        const together = !shape.hierarchical || Math.abs(from - to) < shape.slots / shape.nodes;
        if ((counts[f] as number) < 2 || !together) continue;
        before[to] = e;
        counts[f] = (counts[f] as number) - 1;
        counts[e] = (counts[e] as number) + 1;
      }
      const placement: Placement = { ids: [0], layers: 1, shape, slots: before };
      if (!checkPlacement(placement, true).ok) return;
      // Even without parting them first the search comes to its end.
      migrateLayer(shape, before, loads.values, layerBound(shape, loads.values).time * goal);
      const slots = twinSlots(shape, before);
      const parted = partTwins(shape, before, loads.values);
      unwrap(checkPlacement({ ...placement, slots: parted }));
      expect(Array.from(parted.keys()).filter((s) => parted[s] !== before[s])).toEqual(slots);
      const cost = { secondsPerToken: 1, bytesPerExpert: 1, nodeBytesPerSecond: 1, networkBytesPerSecond: 1 };
      const options = { horizonSteps: 1, partTwins: true };
      const result = unwrap(rebalance(placement, loads, cost, options));
      unwrap(checkPlacement(result.placement));
      expect(result.layers[0]?.moves).toEqual(layerMoves(shape, 0, before, result.placement.slots));
      if (slots.length === 0) return;
      seen++;
      expect(rebalance(placement, loads, cost, { horizonSteps: 1 }).ok).toBe(false);
      expect(result.layers[0]?.act).toBe(true);
    }),
    { numRuns: 300 },
  );
  expect(seen).toBeGreaterThan(20);
});

test("what a standing keeps beside the slots is what the slots say", () => {
  fc.assert(
    fc.property(
      anyShape,
      fc.array(fc.tuple(fc.nat(), fc.nat(), fc.boolean()), { maxLength: 30 }),
      (shape, changes) => {
        const bins = binsOf(shape, 0, shape.ranks, shape.experts);
        const loads = Float64Array.from({ length: shape.experts }, (_, e) => 1 + (e % 5));
        const now = new Standing(bins, startPlacement([0], shape).slots.slice(), loads);
        for (const [x, y, copy] of changes) {
          const a = x % shape.slots;
          const b = y % shape.slots;
          if (!copy) now.exchange(a, b);
          else if ((now.counts[now.slots[b] as number] as number) > 1) now.give(b, now.slots[a] as number);
          const fresh = new Standing(bins, now.slots, loads);
          expect([now.counts, now.share, now.load]).toEqual([fresh.counts, fresh.share, fresh.load]);
          const sorted = (holders: number[][]) => holders.map((ranks) => ranks.toSorted((p, q) => p - q));
          expect(sorted(now.holders)).toEqual(sorted(fresh.holders));
        }
      },
    ),
  );
});
