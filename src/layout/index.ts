/** Which piece of the model lies on which rank: layouts, their memory and time, the search for the best, and exports. Pure. */
export { layoutFail } from "./errors.ts";
export { eachFallback, type FallbackPlan, fallbacks } from "./fallback.ts";
export {
  BF16_MIXED,
  evenStages,
  expertData,
  FLOAT32,
  type Layout,
  microBatches,
  type OptimizerKind,
  type Precision,
  type Recompute,
  type RecomputeRegion,
  type Schedule,
  SCHEDULES,
  SINGLE,
  stageRank,
  stageRanks,
  type Training,
  worldOf,
} from "./layout.ts";
export * from "./memory/index.ts";
export * from "./pieces/index.ts";
export { type MoveCost, moveCost } from "./move.ts";
export {
  type Alternative,
  plan,
  type Plan,
  planFrom,
  type PlannedTime,
  type PlanRequest,
  runSearch,
  searchAll,
} from "./plan.ts";
export { type PrecisionName, PRECISIONS } from "./precision.ts";
export { predictMemory } from "./predict.ts";
export {
  buildOrder,
  chunksOf,
  type Order,
  PASS,
  passKind,
  passMicro,
  passStage,
  simulate,
} from "./schedule/index.ts";
export {
  CATEGORY_NAMES,
  CONSTRAINT_NAMES,
  type ConstraintName,
  type Constraints,
  type Engine,
  fits,
  layoutName,
  layoutProblem,
  modelFacts,
  recomputeText,
  type RejectedRow,
  type SearchResult,
  TERM_NAMES,
} from "./search/index.ts";
export { whyNot, type WhyNot } from "./why-not.ts";
export { eachWhatIf, type WhatIf, whatIfs, whatIfText } from "./sensitivity.ts";
export {
  type Breakdown,
  engineTraits,
  MEGATRON_TRAITS,
  type Mfu,
  STEP_TERMS,
  type StepTerm,
  type StepTime,
  stageHomes,
  TimeModel,
  type Traits,
  traitsFor,
} from "./time/index.ts";
export { type CaseModel, type EstimateCase, readCase } from "./case.ts";
export { casesJsonSchema, traitsSchema } from "./case-schema.ts";
export { estimate, type Estimate, plainMemory } from "./estimate.ts";
export { HOST_LAYER_SECONDS, OVERLAPPED, type Stack, stackTraits } from "./stacks.ts";
export { requestFor } from "./export/target.ts";
export { canonical, exportPlan, importPlan, type Settings, type Target, TARGETS } from "./export/index.ts";
