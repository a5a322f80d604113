/** Live balancing: what ranks tell of their experts, in; decisions to move them, journaled and told, out. */
export { Balancing } from "./live.ts";
export { topologyOf } from "./topology.ts";
