import { type Shape, slotsOf } from "./shape.ts";

/**
 * The packing problem that is left when nodes are decided: `experts` loads into `ranks` bins; bin r takes exactly `slots[r]`
 * different experts. Group-limited shapes have one such problem per node, all others have one.
 */
export type Bins = {
  readonly experts: number;
  readonly ranks: number;
  /** Sum of `slots`. */
  readonly total: number;
  readonly slots: Int32Array;
  /** First slot of each rank, `ranks + 1` values. */
  readonly start: Int32Array;
  readonly speed: Float64Array;
  readonly speedSum: number;
  /** Equal slots and speeds on all ranks. */
  readonly even: boolean;
};

/** The ranks `first .. first + count - 1` of a shape as a problem of their own with `experts` experts. */
export function binsOf(shape: Shape, first: number, count: number, experts: number): Bins {
  const slots = Int32Array.from({ length: count }, (_, i) => slotsOf(shape, first + i));
  const speed = shape.speed.slice(first, first + count);
  const start = new Int32Array(count + 1);
  for (let r = 0; r < count; r++) start[r + 1] = (start[r] as number) + (slots[r] as number);
  return {
    experts,
    ranks: count,
    total: start[count] as number,
    slots,
    start,
    speed,
    speedSum: speed.reduce((sum, v) => sum + v, 0),
    even: slots.every((s) => s === slots[0]) && speed.every((v) => v === speed[0]),
  };
}

/** Nodes as bins and groups as items. */
export function nodeBins(shape: Shape): Bins {
  const perNode = shape.ranks / shape.nodes;
  const slots = shape.groups / shape.nodes;
  const speed = Float64Array.from({ length: shape.nodes }, (_, node) =>
    shape.speed.subarray(node * perNode, (node + 1) * perNode).reduce((sum, v) => sum + v, 0),
  );
  return {
    experts: shape.groups,
    ranks: shape.nodes,
    total: shape.groups,
    slots: new Int32Array(shape.nodes).fill(slots),
    start: Int32Array.from({ length: shape.nodes + 1 }, (_, i) => i * slots),
    speed,
    speedSum: speed.reduce((sum, v) => sum + v, 0),
    even: speed.every((v) => v === speed[0]),
  };
}

/** Indices of `values` from the largest to the smallest; equal values keep the lower index first. */
export function sortDescending(values: Float64Array, keys: Float64Array, order: Int32Array): void {
  const n = values.length;
  let most = 0;
  for (let i = 0; i < n; i++) if ((values[i] as number) > most) most = values[i] as number;
  // One double carries the value (rounded to 2^53 / n steps) and the index, so that the native numeric sort needs no comparator.
  const room = 2 ** Math.ceil(Math.log2(n + 1));
  const scale = most > 0 ? 2 ** 52 / room / most : 0;
  for (let i = 0; i < n; i++) keys[i] = -Math.round((values[i] as number) * scale) * room + i;
  const view = keys.length === n ? keys : keys.subarray(0, n);
  view.sort();
  for (let i = 0; i < n; i++) {
    const key = view[i] as number;
    order[i] = key - Math.floor(key / room) * room;
  }
}
