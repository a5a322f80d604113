/** Runs: the recipe, the journal, the supervisor and its processes. */
export { type ControllerFile, readControllerFile } from "./agent/link.ts";
export { type AgentFile, endAgent } from "./agent/config.ts";
export type { ZygoteCommand, ZygoteNote } from "./agent/zygote.ts";
export {
  type BalanceSummary,
  integerTensor,
  linkLine,
  scanRouting,
  summarizeBalance,
} from "./balancing/index.ts";
export {
  askController,
  Controller,
  evenStages,
  listCheckpoints,
  lockedFolder,
  readKinds,
  readLastBalance,
  readLastLoads,
  readLastStep,
  readTelemetry,
  type RunEnd,
  type RunOptions,
  Series,
  TELEMETRY_FILE,
  type WorkerLayout,
  worldOfLayout,
} from "./controller/index.ts";
export { exportCheckpoint } from "./checkpoint/index.ts";
export { engineEnv, enginePython, engineZygote, ROOT, torchFault } from "./engine/index.ts";
export { fail as runError, isRunError, type RunErrorCode } from "./errors.ts";
export {
  type Alarm,
  type BalanceState,
  EMPTY,
  Journal,
  JOURNAL_FILE,
  type JournalEvent,
  type PhaseName,
  PHASES,
  readJournal,
  reduce,
  type Remedy,
  replay,
  type RunState,
  type Verdict,
} from "./journal/index.ts";
export { localLauncher } from "./launcher/index.ts";
export { paths } from "./paths.ts";
export type { Outputs, Phase, PhaseContext, Phases, Progress } from "./pipeline/index.ts";
export { isAlive, type ProcessId, processId, processStat, signalProcess } from "./processes.ts";
export {
  type LoadedRecipe,
  loadRecipe,
  parseRecipe,
  type Recipe,
  recipeIdentity,
  recipeJsonSchema,
  recipeReference,
  recipeSchema,
} from "./recipe/index.ts";
export type { Finding, Signal } from "./supervise/index.ts";
export type { Watch } from "./watching.ts";
export {
  type BalanceMessage,
  decodeArray,
  encodeArray,
  encodeLine,
  isFinite,
  known,
  type KnownMessage,
  LineDecoder,
  number,
  type StepMessage,
  type WorkerMessage,
} from "./wire/index.ts";
