/** The controller of a run: owns its folder, its agents and its journal. */
export { askController } from "./ask.ts";
export { listCheckpoints } from "./checkpoints.ts";
export { Controller, lockedFolder, type RunEnd, type RunOptions } from "./controller.ts";
export {
  readKinds,
  readLastBalance,
  readLastLoads,
  readLastStep,
  readTelemetry,
  Series,
  TELEMETRY_FILE,
} from "./series.ts";
export { evenStages, type WorkerLayout, worldOfLayout } from "./spec.ts";
