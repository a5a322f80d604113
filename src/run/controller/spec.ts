import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Recipe } from "../recipe/index.ts";
import { paths } from "../paths.ts";

/** The parallel layout as every rank reads it; field names are those of recipes and plans. */
export type WorkerLayout = {
  readonly pp: number;
  readonly vpp: number;
  readonly tp: number;
  readonly cp: number;
  readonly dpReplicate: number;
  readonly dpShard: number;
  readonly ep: number;
  readonly schedule: "1f1b" | "interleaved1f1b";
  readonly stages: readonly (readonly number[])[];
  readonly recompute: "none" | "full";
  readonly slotsPerRank: number | null;
};

export const worldOfLayout = (layout: WorkerLayout): number =>
  layout.pp * layout.tp * layout.cp * layout.dpReplicate * layout.dpShard;

/** Layers 0 .. count-1 cut into `stages` runs of nearly equal length; the first ones take what is left over. */
export function evenStages(count: number, stages: number): number[][] {
  let next = 0;
  return Array.from({ length: stages }, (_, stage) => {
    const length = Math.floor(count / stages) + (stage < count % stages ? 1 : 0);
    return Array.from({ length }, () => next++);
  });
}

/** `num_hidden_layers` of a model's config.json; nothing when the file is missing or says no number. */
export function layersOf(modelFolder: string): number | undefined {
  const path = join(modelFolder, "config.json");
  if (!existsSync(path)) return undefined;
  const count = (JSON.parse(readFileSync(path, "utf8")) as { num_hidden_layers?: unknown }).num_hidden_layers;
  return typeof count === "number" ? count : undefined;
}

/** Worker file (`worker.json`) of a training: everything a rank needs besides its number. */
export function workerSpec(ask: {
  readonly run: string;
  readonly folder: string;
  readonly recipe: Recipe;
  readonly recipeFolder: string;
  readonly layout: WorkerLayout;
  readonly train: string;
  /** Rows in the order of the first pass; null: as they come. */
  readonly order: readonly number[] | null;
  /** Expert of every slot, by layer; null: in order. */
  readonly placement: Readonly<Record<string, readonly number[]>> | null;
  /** Bytes each rank will hold, and settings that would need less; checked against its device before anything is built. */
  readonly memory?: unknown;
}): Record<string, unknown> {
  const { recipe, folder, run, layout } = ask;
  const stage = recipe.stages[0] as Recipe["stages"][number];
  // The layout already has the spare slots as `slotsPerRank`.
  const { spareSlots: _, ...moe } = recipe.moe;
  const model = resolve(ask.recipeFolder, recipe.model.base);
  return {
    v: 1,
    run,
    stage: stage.kind,
    seed: recipe.seed,
    deterministic: recipe.deterministic,
    threads: 1,
    steps: stage.steps,
    model: { config: model, init: recipe.model.init, weights: recipe.model.init === "hf" ? model : null },
    moe,
    mtp: { lossWeight: recipe.objectives.mtp },
    indexer: { lossWeight: recipe.objectives.indexer },
    layout,
    precision: recipe.precision,
    batch: recipe.batch,
    optimizer: recipe.optimizer,
    data: { path: resolve(ask.train), ...(ask.order ? { order: ask.order } : {}) },
    checkpoint: {
      dir: resolve(paths(folder).checkpoints),
      every: recipe.checkpoint.every,
      keep: recipe.checkpoint.keep,
      resume: "auto",
    },
    telemetry: { enabled: true, linksEvery: recipe.balance.mode === "off" ? 0 : recipe.balance.linksEvery },
    memory: ask.memory ?? {},
    selfCheck: { parity: true },
    placement: ask.placement,
    freeze: recipe.model.freeze,
  };
}
