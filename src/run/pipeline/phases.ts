import type { WorkerLayout } from "../controller/spec.ts";
import type { PhaseName } from "../journal/index.ts";
import type { Recipe } from "../recipe/index.ts";

/** What each phase leaves for the phases after it: small facts and paths, written to the journal. Extra fields are kept. */
export type Outputs = {
  readonly data: { readonly folder: string } & Facts;
  /** `train`: packed sequences, safetensors with int32 `input_ids` and `labels`. */
  readonly screen: { readonly train: string } & Facts;
  readonly plan: { readonly layout: WorkerLayout; readonly file: string | null } & Facts;
  readonly train: { readonly checkpoint: string; readonly step: number; readonly worker: string } & Facts;
  readonly measure: { readonly gate: "passed" | "refused"; readonly file: string } & Facts;
  readonly export: { readonly folder: string } & Facts;
  readonly report: { readonly file: string } & Facts;
};
type Facts = { readonly [fact: string]: unknown };

/** How far a phase is. `total` null: not known. `rate` is in units a second. */
export type Progress = {
  readonly phase: PhaseName;
  readonly done: number;
  readonly total: number | null;
  readonly unit: string;
  readonly rate?: number;
  readonly rateUnit?: string;
  readonly loss?: number;
  readonly remainingSeconds?: number;
  readonly note?: string;
};

export type PhaseContext = {
  readonly run: string;
  /** The run folder. */
  readonly folder: string;
  readonly recipe: Recipe;
  /** Folder that the recipe's paths are relative to. */
  readonly recipeFolder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Outputs of the phases before. */
  readonly outputs: Readonly<Partial<Outputs>>;
  /** Aborts when the run is to stop: leave what is finished, throw away the rest, reject. */
  readonly signal: AbortSignal;
  progress(progress: Omit<Progress, "phase">): void;
};

/** One phase as a builder's module offers it. */
export type Phase<N extends PhaseName> = {
  /** What its result depends on besides the outputs of the phases before: recipe sections, versions. Plain data. */
  input(context: PhaseContext): unknown;
  run(context: PhaseContext): Promise<Outputs[N]>;
  /** False when a result that the journal knows is no longer there and must be made again. */
  valid?(output: Outputs[N]): boolean;
};

/** The phases of an installation; one that a recipe asks for and that is not here is a coded error. */
export type Phases = { readonly [N in PhaseName]?: Phase<N> };
