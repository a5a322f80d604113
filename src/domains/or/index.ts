export { FAMILIES } from "./families/index.ts";
export { answerOf, completionOf, MARKS, promptOf } from "./format.ts";
export { judge, type Rejection, type Verdict } from "./gate.ts";
export { LP_LIMITS, type LpModel, parseLp, writeLp } from "./lp.ts";
export {
  draftAt,
  produceProblems,
  type ProduceOptions,
  type Produced,
  produceRange,
  type Rejected,
} from "./produce.ts";
export { type Solution, type SolveOptions, Solver, type SolveStatus } from "./solver.ts";
