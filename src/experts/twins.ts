import { copyCounts } from "./placement.ts";
import type { Shape } from "./shape.ts";

/** Slots of one layer whose rank holds their expert in an earlier slot already. EPLB's own maps have such slots. */
export function twinSlots(shape: Shape, row: Int32Array): number[] {
  const twins: number[] = [];
  for (let r = 0; r < shape.ranks; r++) {
    const seen = new Set<number>();
    for (let s = shape.slotStart[r] as number; s < (shape.slotStart[r + 1] as number); s++) {
      const e = row[s] as number;
      if (seen.has(e)) twins.push(s);
      seen.add(e);
    }
  }
  return twins;
}

/**
 * The layer with every such slot given to another expert: of those that the rank lacks (and that live on its node, where groups do), the
 * one with the largest share. A second copy on a rank never helped: what it took, its twin takes.
 */
export function partTwins(shape: Shape, row: Int32Array, loads: Float64Array): Int32Array {
  const out = row.slice();
  const counts = copyCounts(shape.experts, row);
  const twins = twinSlots(shape, row);
  for (const s of twins) counts[row[s] as number] = (counts[row[s] as number] as number) - 1;
  const perNode = shape.ranks / shape.nodes;
  for (const s of twins) {
    const r = shape.slotStart.findIndex((start) => start > s) - 1;
    const held = out.subarray(shape.slotStart[r] as number, shape.slotStart[r + 1] as number);
    const first = (shape.nodeOf[r] as number) * perNode;
    const local = out.subarray(shape.slotStart[first] as number, shape.slotStart[first + perNode] as number);
    let best = -1;
    for (let e = 0; e < shape.experts; e++) {
      if (held.includes(e) || (shape.hierarchical && !local.includes(e))) continue;
      if (best < 0 || shareOf(e) > shareOf(best)) best = e;
    }
    out[s] = best;
    counts[best] = (counts[best] as number) + 1;
  }
  return out;

  function shareOf(e: number): number {
    return (loads[e] as number) / (counts[e] as number);
  }
}
