/** Runs: the recipe, the journal, the supervisor and its processes. */
export { type ControllerFile, readControllerFile } from "./agent/link.ts";
export type { AgentFile } from "./agent/config.ts";
export type { ZygoteCommand } from "./agent/zygote.ts";
export { type BalanceSummary, summarizeBalance } from "./balancing/index.ts";
export * from "./controller/index.ts";
export * from "./engine/index.ts";
export { fail as runError, isRunError, type RunErrorCode } from "./errors.ts";
export * from "./journal/index.ts";
export * from "./launcher/index.ts";
export { paths } from "./paths.ts";
export * from "./pipeline/index.ts";
export { isAlive, type ProcessId, processId, processStat, signalProcess } from "./processes.ts";
export * from "./recipe/index.ts";
export * from "./supervise/index.ts";
export type { Watch } from "./watching.ts";
export * from "./wire/index.ts";
