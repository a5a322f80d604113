export {
  CATEGORY_NAMES,
  CONSTRAINT_NAMES,
  difference,
  groupRejected,
  layoutName,
  recomputeText,
  type RejectedGroup,
  rejectedRow,
  type RejectedRow,
  TERM_NAMES,
  whyBest,
  whySlower,
} from "./explain.ts";
export {
  type ConstraintName,
  type Engine,
  layoutProblem,
  modelFacts,
} from "./problems.ts";
export { QuickBounds } from "./quick.ts";
export { fits, type Found, type MemoryModel } from "./found.ts";
export {
  balancedStages,
  type Rejected,
  search,
  type SearchResult,
  splits,
} from "./search.ts";
export { candidates, type Constraints } from "./space.ts";
export { splitStages } from "./split.ts";
