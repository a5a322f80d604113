import { err, ok, type Result } from "../base/index.ts";
import { fail } from "./errors.ts";
import { type Shape, slotsOf } from "./shape.ts";

/** Slot -> expert of every layer: `slots[l * shape.slots + s]`; slot s belongs to the rank r with `slotStart[r] <= s`. */
export type Placement = {
  readonly ids: readonly number[];
  readonly layers: number;
  readonly shape: Shape;
  readonly slots: Int32Array;
};

/** Slots of one layer, a view. */
export const layerSlots = (placement: Placement, layer: number): Int32Array =>
  placement.slots.subarray(layer * placement.shape.slots, (layer + 1) * placement.shape.slots);

/**
 * The placement that training starts with: experts in order, as equal parts of consecutive experts per rank. Spare slots, if any,
 * take the experts of the ranks that follow, so that no rank holds one twice.
 */
export function startPlacement(ids: readonly number[], shape: Shape): Placement {
  const row = new Int32Array(shape.slots);
  const parts = shape.hierarchical ? shape.nodes : 1;
  const perPart = shape.ranks / parts;
  const experts = shape.experts / parts;
  for (let part = 0; part < parts; part++) {
    const first = part * perPart;
    const base = shape.slotStart[first] as number;
    const total = (shape.slotStart[first + perPart] as number) - base;
    let spare = total - experts;
    let next = 0;
    for (let r = first; r < first + perPart; r++) {
      const count = slotsOf(shape, r);
      // Own experts first; spare slots are dealt evenly over the ranks that are left.
      const extra = Math.min(count, Math.round(spare / (first + perPart - r)));
      const own = Math.min(count - Math.min(extra, count), experts - next);
      for (let i = 0; i < count; i++) {
        row[(shape.slotStart[r] as number) + i] = part * experts + ((next + i) % experts);
      }
      next += own;
      spare -= count - own;
    }
  }
  const slots = new Int32Array(ids.length * shape.slots);
  for (let l = 0; l < ids.length; l++) slots.set(row, l * shape.slots);
  return { ids: [...ids], layers: ids.length, shape, slots };
}

/** Checks the rules of a placement: known experts, each in a slot, none twice on a rank (but with `twins`), groups whole on a node. */
export function checkPlacement(placement: Placement, twins = false): Result<Placement> {
  const { shape, ids } = placement;
  if (placement.slots.length !== placement.layers * shape.slots || ids.length !== placement.layers) {
    return other("slots", placement.slots.length, placement.layers * shape.slots);
  }
  const seenOn = new Int32Array(shape.experts);
  const groupNode = new Int32Array(shape.groups);
  for (let l = 0; l < placement.layers; l++) {
    const row = layerSlots(placement, l);
    const layer = ids[l] as number;
    seenOn.fill(-1);
    groupNode.fill(-1);
    for (let r = 0; r < shape.ranks; r++) {
      for (let s = shape.slotStart[r] as number; s < (shape.slotStart[r + 1] as number); s++) {
        const e = row[s] as number;
        if (!(e >= 0 && e < shape.experts)) {
          return invalid(layer, `slot ${s}: expert ${e}, experts 0..${shape.experts - 1}`);
        }
        if (seenOn[e] === r && !twins)
          return invalid(layer, `rank ${r} holds expert ${e} twice / 進程 ${r} 有兩份專家 ${e}`);
        seenOn[e] = r;
        const group = Math.floor((e * shape.groups) / shape.experts);
        const node = shape.nodeOf[r] as number;
        if (shape.hierarchical && groupNode[group] !== -1 && groupNode[group] !== node) {
          return invalid(
            layer,
            `group ${group} on nodes ${groupNode[group]} and ${node} / 組 ${group} 跨節點`,
          );
        }
        groupNode[group] = node;
      }
    }
    const missing = seenOn.indexOf(-1);
    if (missing >= 0) return invalid(layer, `expert ${missing} has no slot / 專家 ${missing} 沒有槽位`);
  }
  return ok(placement);
}

const invalid = (layer: number, why: string): Result<never> =>
  err(fail("EXPERTS_PLACEMENT_INVALID", { layer, why }));
const other = (what: string, got: string | number, want: string | number): Result<never> =>
  err(fail("EXPERTS_PLACEMENT_OTHER", { what, got, want }));

/** Copies of each expert in one layer. */
export function copyCounts(experts: number, row: Int32Array): Int32Array {
  const counts = new Int32Array(experts);
  for (const e of row) counts[e] = (counts[e] as number) + 1;
  return counts;
}

/** Load of each rank under a layer's placement, every copy taking an equal share of its expert's load. */
export function loadOfRanks(shape: Shape, row: Int32Array, loads: Float64Array): Float64Array {
  const counts = copyCounts(shape.experts, row);
  const out = new Float64Array(shape.ranks);
  for (let r = 0; r < shape.ranks; r++) {
    let sum = 0;
    for (let s = shape.slotStart[r] as number; s < (shape.slotStart[r + 1] as number); s++) {
      const e = row[s] as number;
      sum += (loads[e] as number) / (counts[e] as number);
    }
    out[r] = sum;
  }
  return out;
}

/** Time of the slowest rank over the perfect mean; 1 where nothing is loaded. */
export function maxOverMean(shape: Shape, row: Int32Array, loads: Float64Array): number {
  const ranks = loadOfRanks(shape, row, loads);
  let most = 0;
  let all = 0;
  let speed = 0;
  for (let r = 0; r < shape.ranks; r++) {
    most = Math.max(most, (ranks[r] as number) / (shape.speed[r] as number));
    all += ranks[r] as number;
    speed += shape.speed[r] as number;
  }
  return all > 0 ? (most * speed) / all : 1;
}
