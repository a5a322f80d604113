import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseModel } from "../../model/index.ts";
import { Balancing, topologyOf } from "../balancing/index.ts";
import type { Journal } from "../journal/index.ts";
import type { Launcher } from "../launcher/index.ts";
import { paths } from "../paths.ts";
import type { PhaseContext } from "../pipeline/index.ts";
import { known, type WorkerMessage } from "../wire/index.ts";
import { readKinds, type Series } from "./series.ts";
import type { WorkerLayout } from "./spec.ts";

/** The balancing of a training; nothing when the recipe turns it off or no expert could stand elsewhere. */
export function openBalancing(
  { run, folder, recipe, recipeFolder }: PhaseContext,
  spec: Readonly<Record<string, unknown>>,
  launcher: Launcher,
  journal: Journal,
  series: Series,
): Balancing | null {
  const policy = recipe.balance;
  const config = join(resolve(recipeFolder, recipe.model.base), "config.json");
  if (policy.mode === "off" || !existsSync(config)) return null;
  const model = parseModel(readFileSync(config, "utf8"), { file: config });
  const ranksPerNode = Math.max(...launcher.nodes.map((node) => node.ranks));
  const topology = model.ok
    ? topologyOf(spec["layout"] as WorkerLayout, model.value, recipe, ranksPerNode)
    : undefined;
  if (!topology) return null;
  return new Balancing({
    policy,
    topology,
    steps: Number(spec["steps"]),
    journal,
    told: readKinds(paths(folder).series, ["placement", "moved", "ack"]).flatMap(
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
