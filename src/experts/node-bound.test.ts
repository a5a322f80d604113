import fc from "fast-check";
import { expect, test } from "vitest";
import { Random, unwrap } from "../base/index.ts";
import { layerBound } from "./layer-bound.ts";
import { inNodeBound } from "./node-bound.ts";
import { maxOverMean, startPlacement } from "./placement.ts";
import { plan } from "./plan.ts";
import { makeShape } from "./shape.ts";
import { makeUpLoads } from "./synthetic.ts";

const asked = fc.record({
  nodes: fc.integer({ min: 1, max: 4 }),
  perNode: fc.integer({ min: 1, max: 4 }),
  perRank: fc.integer({ min: 1, max: 4 }),
  spare: fc.integer({ min: 0, max: 1 }),
  seed: fc.nat(),
});

test("no order of a node's experts over its ranks is below the bound in nodes, and it is never below the layer's", () => {
  fc.assert(
    fc.property(asked, ({ nodes, perNode, perRank, spare, seed }) => {
      const ranks = nodes * perNode;
      const experts = ranks * perRank;
      const slots = perNode === 1 ? experts : experts + spare * ranks;
      const shape = unwrap(makeShape({ experts, ranks, slots, nodes, groups: nodes }));
      const loads = makeUpLoads(1, experts, { kind: "lognormal", cv: 1 }, seed);
      const row = shape.hierarchical
        ? unwrap(plan(loads, shape)).placement.slots.slice()
        : startPlacement([0], shape).slots.slice();
      const bound = inNodeBound(shape, row, loads.values);
      const flat = unwrap(makeShape({ experts, ranks, slots, nodes }));
      expect(bound).toBeGreaterThanOrEqual(layerBound(flat, loads.values).ratio * (1 - 1e-9));
      if (nodes === 1) expect(bound).toBeCloseTo(layerBound(flat, loads.values).ratio, 12);
      expect(maxOverMean(shape, row, loads.values)).toBeGreaterThanOrEqual(bound * (1 - 1e-9));
      const random = new Random(seed);
      for (let k = 0; k < 20; k++) {
        // Another order of the same experts on the same nodes, none twice on a rank.
        const other = Array.from({ length: nodes }, (_, node) =>
          random.shuffle(Array.from(row.subarray((node * slots) / nodes, ((node + 1) * slots) / nodes))),
        ).flat();
        const width = other.length / ranks;
        const twice = other.some((e, s) => other.indexOf(e, s - (s % width)) < s);
        if (twice) continue;
        expect(maxOverMean(shape, Int32Array.from(other), loads.values)).toBeGreaterThanOrEqual(
          bound * (1 - 1e-9),
        );
      }
    }),
  );
});
