/** Live balancing: what ranks tell of their experts, in; decisions to move them, journaled and told, out. */
export { DecisionThread, IN_PLACE } from "./decider.ts";
export { countHashed, foresee, type Foreseen, placeable } from "./foresight.ts";
export { linkLine } from "./link-line.ts";
export { Balancing } from "./live.ts";
export { rowOrder } from "./order.ts";
export { scanOnce, scanRouting } from "./scan.ts";
export { type BalanceSummary, summarizeBalance } from "./summary.ts";
export { integerTensor } from "./tensor-file.ts";
export { topologyOf } from "./topology.ts";
