import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { unwrap } from "../../base/index.ts";
import { writeFileAtomic } from "../../base/node.ts";
import { type Model, parseModel } from "../../model/index.ts";
import {
  Balancing,
  countHashed,
  DecisionThread,
  foresee,
  type Foreseen,
  integerTensor,
  placeable,
  rowOrder,
  scanOnce,
  topologyOf,
} from "../balancing/index.ts";
import type { Journal } from "../journal/index.ts";
import type { Launcher } from "../launcher/index.ts";
import { paths } from "../paths.ts";
import type { PhaseContext } from "../pipeline/index.ts";
import { known, type WorkerMessage } from "../wire/index.ts";
import { readKinds, type Series } from "./series.ts";
import type { WorkerLayout } from "./spec.ts";

/** Where experts should stand before the first step; nothing when the recipe asks for none or nothing is known. `order`: rows as they come. */
export async function foreseePlaces(
  context: PhaseContext,
  layout: WorkerLayout,
  train: string,
  order: readonly number[] | null,
): Promise<Foreseen | undefined> {
  const { recipe, recipeFolder, folder, env, signal } = context;
  const { foresight, scanRows } = recipe.balance;
  const base = resolve(recipeFolder, recipe.model.base);
  const model = recipe.model.init === "hf" ? modelOf(base) : undefined;
  if (!model || placeable(model, layout) === 0) return undefined;
  const hashed = foresight ? countHashed(model, base, train) : undefined;
  const rows = Math.min(scanRows, integerTensor(train, "input_ids")?.shape[0] ?? 0);
  const scanned =
    rows === 0
      ? undefined
      : await scanOnce(paths(folder).scan, {
          model: base,
          data: train,
          rows: Array.from({ length: rows }, (_, i) => order?.[i] ?? i),
          env,
          signal,
          onProgress: (done) => context.progress({ done, total: rows, unit: "row", note: "scan" }),
        });
  return foresee(model, layout, hashed, scanned);
}

/**
 * The order of rows that the recipe names; null: as they come. It is worked out once and kept in the run folder: ranks that come back, fewer
 * of them even, go on in the same order, so that no row is trained twice or left out.
 */
export function rowsInOrder(
  context: Pick<PhaseContext, "recipe" | "recipeFolder" | "folder">,
  layout: WorkerLayout,
  train: string,
): number[] | null {
  const { recipe, recipeFolder, folder } = context;
  const named = recipe.data && "packed" in recipe.data ? recipe.data.order : undefined;
  if (named === undefined) return null;
  const kept = paths(folder).order;
  if (existsSync(kept)) return JSON.parse(readFileSync(kept, "utf8")) as number[];
  const file = resolve(recipeFolder, named);
  const rows = integerTensor(train, "input_ids")?.shape[0] ?? 0;
  const { microBatch, globalBatch } = recipe.batch;
  const cut = { microBatch, globalBatch, dataRanks: layout.dpReplicate * layout.dpShard };
  const order = unwrap(rowOrder(readFileSync(file, "utf8"), file, rows, cut));
  writeFileAtomic(kept, JSON.stringify(order));
  return order;
}

function modelOf(base: string): Model | undefined {
  const config = join(base, "config.json");
  const model = existsSync(config) ? parseModel(readFileSync(config, "utf8"), { file: config }) : undefined;
  return model?.ok ? model.value : undefined;
}

/** The balancing of a training; nothing when the recipe turns it off or no expert could stand elsewhere. */
export function openBalancing(
  { run, folder, recipe, recipeFolder }: PhaseContext,
  spec: Readonly<Record<string, unknown>>,
  launcher: Launcher,
  journal: Journal,
  series: Series,
): Balancing | null {
  const policy = recipe.balance;
  const model = policy.mode === "off" ? undefined : modelOf(resolve(recipeFolder, recipe.model.base));
  const ranksPerNode = Math.max(...launcher.nodes.map((node) => node.ranks));
  const topology = model && topologyOf(spec["layout"] as WorkerLayout, model, recipe, ranksPerNode);
  if (!topology) return null;
  return new Balancing({
    policy,
    topology,
    steps: Number(spec["steps"]),
    decider: new DecisionThread(),
    journal,
    told: readKinds(paths(folder).series, ["placement", "moved", "rehearsed", "ack"]).flatMap(
      (message) => known(message) ?? [],
    ),
    note: (step, attempt, fields) =>
      series.note({
        v: 1,
        kind: "balance",
        run,
        rank: -1,
        step,
        t: Date.now() / 1000,
        attempt,
        ...fields,
      } satisfies WorkerMessage),
  });
}
