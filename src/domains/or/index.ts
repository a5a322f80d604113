export { type B4oOutcome, type B4oProblem, readB4o, solveB4o } from "./b4o.ts";
export {
  type AnswerVerdict,
  AnswerChecker,
  type Expected,
  OBJECTIVE_TOLERANCE,
  sameObjective,
} from "./check.ts";
export { type PoolOptions, SolverPool } from "./pool.ts";
export { type BaseData, basePart, type BasePart, runBaseData } from "./base.ts";
export { FAMILIES } from "./families/index.ts";
export { answerOf, completionOf, MARKS, promptOf } from "./format.ts";
export { type Candidate, judge, type Rejection, type Verdict } from "./gate.ts";
export { LP_LIMITS, type LpModel, parseLp, writeLp } from "./lp.ts";
export { encodeGeneral, encodeSample, packDataset } from "./pack.ts";
export {
  type DataProgress,
  type DataResult,
  type FunnelRow,
  funnelOf,
  runSteps,
  runData,
} from "./pipeline.ts";
export {
  draftAt,
  type Gated,
  gateDrafts,
  produceProblems,
  type ProduceOptions,
  type Rejected,
  type Unproven,
} from "./produce.ts";
export { dataPart, type DataPart } from "./recipe.ts";
export { type Selected, STEP_NAMES, type StepName } from "./way.ts";
export { type Solution, type SolveOptions, Solver, type SolveStatus } from "./solver.ts";
