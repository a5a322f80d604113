/** Live balancing: what ranks tell of their experts, in; decisions to move them, journaled and told, out. */
export { DecisionThread, IN_PLACE } from "./decider.ts";
export { foresee, type Foreseen } from "./foresight.ts";
export { Balancing } from "./live.ts";
export { type BalanceSummary, summarizeBalance } from "./summary.ts";
export { topologyOf } from "./topology.ts";
