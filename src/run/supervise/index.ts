/** The supervisor of a training: a pure state machine from inputs to acts. */
export { type After, type Mode, type NodeState, startSupervisor, type Supervisor } from "./state.ts";
export { type Move, supervise } from "./supervise.ts";
export type { Act, Finding, Goal, Input, NodePlan, ProcessView, Signal } from "./types.ts";
