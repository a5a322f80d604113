import { type Bins, binsOf } from "./bins.ts";
import { dealOneEach } from "./one-each.ts";
import { holds } from "./pack.ts";
import { loadOfRanks } from "./placement.ts";
import type { Shape } from "./shape.ts";
import { migrateStepwise } from "./stepwise.ts";

/** A point of the curve balance against transfers of one layer, after `changes` exchanges or new copies. */
export type CurvePoint = { readonly transfers: number; readonly time: number };

export type LayerMigration = {
  readonly slots: Int32Array;
  readonly time: number;
  /** From "nothing moved" on; time never rises along it. */
  readonly curve: readonly CurvePoint[];
};

/**
 * Starts from where the experts are and changes as little as possible until the slowest rank takes at most `target`: the slowest rank
 * first, by (1) one copy placed instead of a spare one if that is enough (one transfer), (2) the exchange that just brings it under the
 * target and keeps the partner under it (two transfers), preferring partners on the same node, (3) the exchange or copy that helps most.
 * Beside it stands the plan that changes at most one slot of each rank and deals those anew; what sends less is taken, a transfer over
 * the network counting double. Group-limited shapes change inside nodes only. Stops after `mostTransfers`
 * (step by step only), or when nothing helps. `current` holds no expert twice on a rank (see `partTwins`).
 */
export function migrateLayer(
  shape: Shape,
  current: Int32Array,
  loads: Float64Array,
  target: number,
  mostTransfers = Number.POSITIVE_INFINITY,
): LayerMigration {
  const slots = current.slice();
  // Nothing reaches a target of nothing, and shares of it are no numbers.
  if (!(target > 0)) return unmoved(shape, slots, loads);
  if (!shape.hierarchical) {
    const bins = binsOf(shape, 0, shape.ranks, shape.experts);
    return cheapest(bins, slots, loads, target, mostTransfers, shape.nodeOf);
  }
  const perNode = shape.ranks / shape.nodes;
  const run = (goal: number): LayerMigration[] =>
    Array.from({ length: shape.nodes }, (_, node) => {
      const bins = binsOf(shape, node * perNode, perNode, shape.experts);
      const from = shape.slotStart[node * perNode] as number;
      const part = slots.subarray(from, from + bins.total);
      part.set(current.subarray(from, from + bins.total));
      return cheapest(bins, part, loads, goal, mostTransfers, new Int32Array(perNode));
    });
  // A node that can be faster than the slowest one need not be: what it would move wins nothing.
  const floor = Math.max(...run(target).map((part) => part.time));
  const parts = run(Math.max(target, floor));
  return { slots, time: Math.max(...parts.map((part) => part.time)), curve: mergeCurves(parts) };
}

function unmoved(shape: Shape, slots: Int32Array, loads: Float64Array): LayerMigration {
  const time = Math.max(...loadOfRanks(shape, slots, loads).map((w, r) => w / (shape.speed[r] as number)));
  return { slots, time, curve: [{ transfers: 0, time }] };
}

/** The curve of a layer whose nodes change independently: always the slowest node takes its next change. */
function mergeCurves(parts: readonly LayerMigration[]): CurvePoint[] {
  const at = parts.map(() => 0);
  const timeOf = (i: number) => ((parts[i] as LayerMigration).curve[at[i] as number] as CurvePoint).time;
  const curve: CurvePoint[] = [];
  for (;;) {
    let worst = 0;
    let transfers = 0;
    parts.forEach((part, i) => {
      if (timeOf(i) > timeOf(worst)) worst = i;
      transfers += (part.curve[at[i] as number] as CurvePoint).transfers;
    });
    curve.push({ transfers, time: timeOf(worst) });
    if ((at[worst] as number) + 1 >= (parts[worst] as LayerMigration).curve.length) break;
    at[worst] = (at[worst] as number) + 1;
  }
  // The slowest node may end above what it reached alone, and others may have changed more than it then asks for: all of it is sent.
  const all = parts.reduce((sum, part) => sum + (part.curve.at(-1) as CurvePoint).transfers, 0);
  const last = curve.pop() as CurvePoint;
  curve.push({ transfers: all, time: last.time });
  return curve;
}

/** Most spare copies that are given to other experts, where that pays, before the slots are chosen, in different attempts. */
const COPIES_FIRST = [0, 16];
/** Fewer transfers than this need no second plan. */
const FEW = 4;

/** Changes `slots` in place: step by step or one slot a rank, whichever reaches the target (or comes nearest) and sends less. */
function cheapest(
  bins: Bins,
  slots: Int32Array,
  loads: Float64Array,
  target: number,
  mostTransfers: number,
  nodeOf: Int32Array,
): LayerMigration {
  const before = slots.slice();
  let best = migrateStepwise(bins, slots, loads, target, mostTransfers, nodeOf);
  const steps = best.curve;
  let cost = sendings(bins, before, slots, nodeOf);
  // A part of the way is a point of the step by step curve; the other plan has none.
  if (mostTransfers < Number.POSITIVE_INFINITY) return best;
  if ((steps.at(-1) as CurvePoint).transfers < FEW || bins.ranks < 3) return best;
  for (const copies of bins.total > bins.experts ? COPIES_FIRST : [0]) {
    const dealt = dealOneEach(bins, before, loads, target, copies, nodeOf);
    const other = migrateStepwise(bins, dealt, loads, target, Number.POSITIVE_INFINITY, nodeOf, before);
    const otherCost = sendings(bins, before, dealt, nodeOf);
    const times = [Math.max(other.time, target), Math.max(best.time, target)] as const;
    const nearer = times[0] < times[1] * (1 - 1e-9);
    if (!nearer && (times[0] > times[1] * (1 + 1e-9) || otherCost.weighted >= cost.weighted)) continue;
    cost = otherCost;
    const last = { transfers: cost.transfers, time: other.time };
    const earlier = steps.filter((point) => point.transfers < last.transfers && point.time > last.time);
    best = { slots: dealt, time: other.time, curve: [...earlier, last] };
  }
  slots.set(best.slots);
  return { ...best, slots };
}

/** Slots that hold an expert their rank did not hold before; in `weighted` those whose node did not hold it count twice. */
function sendings(
  bins: Bins,
  before: Int32Array,
  after: Int32Array,
  nodeOf: Int32Array,
): { transfers: number; weighted: number } {
  let transfers = 0;
  let network = 0;
  const ofNode = new Set<number>();
  const key = (r: number, e: number) => (nodeOf[r] as number) * bins.experts + e;
  for (let r = 0; r < bins.ranks; r++) {
    for (let s = bins.start[r] as number; s < (bins.start[r + 1] as number); s++)
      ofNode.add(key(r, before[s] as number));
  }
  for (let r = 0; r < bins.ranks; r++) {
    for (let s = bins.start[r] as number; s < (bins.start[r + 1] as number); s++) {
      const e = after[s] as number;
      if (holds(bins, before, r, e)) continue;
      transfers++;
      if (!ofNode.has(key(r, e))) network++;
    }
  }
  return { transfers, weighted: transfers + network };
}
