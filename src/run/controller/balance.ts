import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Model, parseModel } from "../../model/index.ts";
import { Balancing, DecisionThread, foresee, type Foreseen, topologyOf } from "../balancing/index.ts";
import type { Journal } from "../journal/index.ts";
import type { Launcher } from "../launcher/index.ts";
import { paths } from "../paths.ts";
import type { PhaseContext } from "../pipeline/index.ts";
import { known, type WorkerMessage } from "../wire/index.ts";
import { readKinds, type Series } from "./series.ts";
import type { WorkerLayout } from "./spec.ts";

/** Where experts should stand before the first step; nothing when the recipe turns it off or nothing is known. */
export function foreseePlaces(
  { recipe, recipeFolder }: PhaseContext,
  layout: WorkerLayout,
  train: string,
): Foreseen | undefined {
  const base = resolve(recipeFolder, recipe.model.base);
  const model = recipe.balance.foresight && recipe.model.init === "hf" ? modelOf(base) : undefined;
  return model && foresee(model, layout, base, train);
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
