import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { unwrap } from "../../base/index.ts";
import { type Cluster, presetCluster } from "../../cluster/index.ts";
import {
  type Constraints,
  FLOAT32,
  type PlanRequest,
  type Precision,
  type Training,
} from "../../layout/index.ts";
import { parseModel } from "../../model/index.ts";
import { evenStages, type Recipe, worldOfLayout } from "../../run/index.ts";
import { machineMemory } from "../../base/node.ts";

/** Ranks that share this machine when the recipe leaves the number open: two a core keep the pipeline busy. */
const RANKS_PER_CORE = 2;

/** This machine as a cluster of CPU processes that share its memory. */
function thisMachine(world: number): Cluster {
  const preset = presetCluster("cpu", world);
  const group = preset?.groups[0];
  if (!preset || !group) throw new Error(`no cpu preset for ${world} ranks`);
  // What is free now, not what is built in: a plan that does not fit is refused before a rank starts.
  const { free } = machineMemory();
  const device = { ...group.device, memoryBytes: Math.floor(free / world) };
  return { ...preset, groups: [{ ...group, device, hostMemoryBytes: free }] };
}

function trainingOf(recipe: Recipe, mtp: boolean): Training {
  const wide = recipe.precision.param === "float32";
  const precision: Precision = wide
    ? FLOAT32
    : { ...FLOAT32, weights: "bfloat16", master: "float32", activations: "bfloat16", dispatch: "bfloat16" };
  return {
    sequence: recipe.batch.sequenceLength,
    microBatch: recipe.batch.microBatch,
    globalBatch: recipe.batch.globalBatch,
    precision,
    optimizer: "adamw",
    mtp,
  };
}

/** An explicit layout narrows the search to itself, so the same planner accounts for it and explains it. */
function constraintsOf(asked: Recipe["layout"], microBatch: number, spareSlots: number): Constraints {
  if (asked === "auto") return { engine: "tessera", microBatch: [microBatch], spareSlots };
  return {
    engine: "tessera",
    ...(asked.slotsPerRank === null ? { spareSlots } : { slotsPerRank: asked.slotsPerRank }),
    pp: [asked.pp],
    vpp: [asked.vpp],
    tp: [asked.tp],
    cp: [asked.cp],
    ep: [asked.ep],
    dpReplicate: [asked.dpReplicate],
    schedules: [asked.schedule],
    recompute: [{ kind: asked.recompute }],
    microBatch: [microBatch],
  };
}

/**
 * What a recipe asks of the planner: its model, batch and number formats, and its layout as the only one or, where that is `auto` or
 * `free` is set, any. Without a cluster it is for this machine, with as many ranks as the layout has.
 */
export function recipeRequest(
  recipe: Recipe,
  recipeFolder: string,
  { cluster, free = false }: { readonly cluster?: Cluster | undefined; readonly free?: boolean } = {},
): PlanRequest {
  const file = join(resolve(recipeFolder, recipe.model.base), "config.json");
  const model = unwrap(parseModel(readFileSync(file, "utf8"), { file, name: recipe.name }));
  const asked = recipe.layout;
  const world =
    asked === "auto"
      ? availableParallelism() * RANKS_PER_CORE
      : worldOfLayout({ ...asked, stages: evenStages(1, 1) });
  return {
    model,
    cluster: cluster ?? thisMachine(world),
    training: trainingOf(recipe, model.mtp.length > 0),
    constraints: constraintsOf(free ? "auto" : asked, recipe.batch.microBatch, recipe.moe.spareSlots),
  };
}
