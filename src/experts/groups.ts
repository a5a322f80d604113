import type { Bound } from "./bound.ts";
import type { Shape } from "./shape.ts";

export type GroupBound = {
  readonly bound: Bound;
  /** Groups of each node under which the bound was found; undefined where the relaxation was used. */
  readonly assignment: readonly (readonly number[])[] | undefined;
};

/** Loads of the experts of some groups, in the order of the groups. */
export function groupLoads(shape: Shape, loads: Float64Array, groups: readonly number[]): Float64Array {
  const size = shape.experts / shape.groups;
  const out = new Float64Array(groups.length * size);
  groups.forEach((group, i) => {
    out.set(loads.subarray(group * size, (group + 1) * size), i * size);
  });
  return out;
}

/** The i-th expert of a set of groups. */
export function expertOf(shape: Shape, groups: readonly number[], i: number): number {
  const size = shape.experts / shape.groups;
  return (groups[Math.floor(i / size)] as number) * size + (i % size);
}
