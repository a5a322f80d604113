/** Loads, bounds, placements, migrations, co-activation: pure, for Node and the browser. */
export { type Bound, type BoundKind } from "./bound.ts";
export { layerBound } from "./layer-bound.ts";
export { layerLoads, type Loads, makeLoads } from "./loads.ts";
export { layerMoves, matchRanks, type Move, placementMoves } from "./moves.ts";
export { noiseFloor, overDispersion } from "./noise.ts";
export { type LayerResult, plan, type PlanOptions } from "./plan.ts";
export {
  checkPlacement,
  copyCounts,
  layerSlots,
  loadOfRanks,
  maxOverMean,
  type Placement,
  startPlacement,
} from "./placement.ts";
export { makeShape, type Shape, type ShapeRequest, slotsOf } from "./shape.ts";
