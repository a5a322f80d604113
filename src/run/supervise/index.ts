/** The supervisor of a training: a pure state machine from inputs to acts. */
export { startSupervisor, type Supervisor } from "./state.ts";
export { supervise } from "./supervise.ts";
export type { Act, Finding, Goal, Input, Signal } from "./types.ts";
