/** The phases of a recipe as journaled, resumable steps. */
export type { Outputs, Phase, PhaseContext, Phases, Progress } from "./phases.ts";
export { type PipelineOptions, runPipeline, verdictOf } from "./pipeline.ts";
