import { binsOf } from "./bins.ts";
import { BoundFinder } from "./bound.ts";
import { copyCounts } from "./placement.ts";
import type { Shape } from "./shape.ts";

/**
 * The least max/mean that ranks can reach while every node keeps its experts and its part of their load: the slowest node's own bound, over
 * the layer's mean. Above the layer's bound by what the choice of nodes costs (a group-limited router, co-activation). A node's part of an
 * expert is the share of its copies. As many small bounds as there are nodes: well below 1 ms for 384 experts on 64 ranks.
 *
 * @param row experts of the layer's slots
 */
export function inNodeBound(shape: Shape, row: Int32Array, loads: Float64Array): number {
  const perNode = shape.ranks / shape.nodes;
  const counts = copyCounts(shape.experts, row);
  let time = 0;
  for (let node = 0; node < shape.nodes; node++) {
    const first = node * perNode;
    const slots = row.subarray(shape.slotStart[first], shape.slotStart[first + perNode]);
    const parts = new Map<number, number>();
    for (const e of slots) {
      parts.set(e, (parts.get(e) ?? 0) + (loads[e] as number) / (counts[e] as number));
    }
    const finder = new BoundFinder(binsOf(shape, first, perNode, parts.size));
    time = Math.max(time, finder.find(Float64Array.from(parts.values())).time);
  }
  const all = loads.reduce((sum, w) => sum + w, 0);
  const speed = shape.speed.reduce((sum, v) => sum + v, 0);
  return all > 0 ? (time * speed) / all : 1;
}
