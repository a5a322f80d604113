/** Loads, bounds, placements, migrations, co-activation: pure, for Node and the browser. */
export type { Bound, BoundKind } from "./bound.ts";
export { groupByCoactivation, type GroupingOptions } from "./coactivation.ts";
export { type CostModel, moveSeconds, type Traffic, trafficOf } from "./cost.ts";
export { type ControllerOptions, type Decision, decide, type RelocateCommand } from "./decide.ts";
export { type LayerDigest, LoadMonitor, type StepDigest } from "./digest.ts";
export { fail as expertsFail } from "./errors.ts";
export { type Forecaster, forecastLayer, type LayerForecast } from "./forecast.ts";
export { sampleRankLoads, type Scan, scanOf, windowLoads } from "./foresight.ts";
export { placeOnNodes } from "./grouped.ts";
export { guardMemory, type GuardRequest, type GuardVerdict, type Remedy } from "./guard.ts";
export { layerBound } from "./layer-bound.ts";
export { inNodeBound } from "./node-bound.ts";
export { layerLoads, type Loads, makeLoads } from "./loads.ts";
export { fitMoveCost, type MoveCost, type MoveSample, secondsOfMove } from "./move-cost.ts";
export { type CurvePoint, type LayerMigration, migrateLayer } from "./migrate.ts";
export { layerMoves, matchRanks, type Move, placementMoves } from "./moves.ts";
export { chooseHomes } from "./homes.ts";
export {
  busiestNode,
  homesInTurn,
  homesOfTokens,
  loadsByNode,
  type NodeGroups,
  plainGroups,
  remoteFrom,
} from "./node-groups.ts";
export { type NodePlanOptions, planNodes } from "./node-plan.ts";
export { noiseFloor, overDispersion } from "./noise.ts";
export { type PackOptions, type Packing, packSamples } from "./pack-samples.ts";
export { type LayerResult, plan, type PlanOptions } from "./plan.ts";
export {
  type EplbMaps,
  eplbMaps,
  type PlacementJson,
  placementJson,
  readPlacement,
} from "./placement-json.ts";
export {
  checkPlacement,
  copyCounts,
  layerSlots,
  loadOfRanks,
  maxOverMean,
  type Placement,
  startPlacement,
} from "./placement.ts";
export { meanLoads, readLoads } from "./read-loads.ts";
export { joinScans, type PreScan, readHashed, readTraces } from "./read-trace.ts";
export {
  expected,
  type Forecast,
  type LayerDecision,
  type Rebalance,
  rebalance,
  type RebalanceOptions,
} from "./rebalance.ts";
export { makeShape, type Shape, type ShapeRequest, slotsOf, valuesOfRanks } from "./shape.ts";
export { partTwins, twinSlots } from "./twins.ts";
export { type SplitBound, splitBound } from "./split-bound.ts";
export {
  drift,
  type HistoryRecipe,
  makeUpHistory,
  makeUpLoads,
  makeUpTrace,
  type Skew,
} from "./synthetic.ts";
export {
  distinctNodes,
  makeTrace,
  nodeMaxOverMean,
  remoteNodes,
  sliceTrace,
  type Trace,
  traceLoads,
} from "./trace.ts";
