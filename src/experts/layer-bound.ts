import { binsOf } from "./bins.ts";
import { type Bound, BoundFinder } from "./bound.ts";
import { groupBound } from "./group-bound.ts";
import type { Shape } from "./shape.ts";

/** Bound of one layer of a shape (group-limited or not). Below 1 ms for 384 experts on 64 ranks. */
export function layerBound(shape: Shape, loads: Float64Array): Bound {
  if (shape.hierarchical) return groupBound(shape, loads).bound;
  return new BoundFinder(binsOf(shape, 0, shape.ranks, shape.experts)).find(loads);
}
