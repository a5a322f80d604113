export {
  CONSTRAINT_NAMES,
  difference,
  groupRejected,
  layoutName,
  type RejectedGroup,
  TERM_NAMES,
  whyBest,
  whySlower,
} from "./explain.ts";
export {
  type ConstraintName,
  type Engine,
  layoutProblem,
  modelFacts,
  type Problem,
  schedulesOf,
} from "./problems.ts";
export { QuickBounds } from "./quick.ts";
export {
  balancedStages,
  fits,
  type Found,
  type MemoryModel,
  type Rejected,
  search,
  type SearchRequest,
  type SearchResult,
  splits,
} from "./search.ts";
export { type Candidate, candidates, type Constraints } from "./space.ts";
export { splitStages } from "./split.ts";
