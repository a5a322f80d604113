import { readFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { join, resolve } from "node:path";
import { unwrap } from "../../base/index.ts";
import { writeFileAtomic } from "../../base/node.ts";
import { type Cluster, presetCluster } from "../../cluster/index.ts";
import {
  type Constraints,
  FLOAT32,
  type Layout,
  plan as makePlan,
  type Plan,
  type Precision,
  type Training,
} from "../../layout/index.ts";
import { parseModel } from "../../model/index.ts";
import {
  evenStages,
  paths,
  type Phase,
  type PhaseContext,
  type Recipe,
  type WorkerLayout,
  worldOfLayout,
} from "../../run/index.ts";

/** Ranks that share this machine when the recipe leaves the number open: two a core keep the pipeline busy. */
const RANKS_PER_CORE = 2;

/** This machine as a cluster of CPU processes that share its memory. */
function thisMachine(world: number): Cluster {
  const preset = presetCluster("cpu", world);
  const group = preset?.groups[0];
  if (!preset || !group) throw new Error(`no cpu preset for ${world} ranks`);
  const device = { ...group.device, memoryBytes: Math.floor(totalmem() / world) };
  return { ...preset, groups: [{ ...group, device, hostMemoryBytes: totalmem() }] };
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

const workerLayout = (layout: Layout, asked: Recipe["layout"]): WorkerLayout => ({
  pp: layout.pp,
  vpp: layout.vpp,
  tp: layout.tp,
  cp: layout.cp,
  dpReplicate: layout.dpReplicate,
  dpShard: layout.dpShard,
  ep: layout.ep,
  schedule: layout.schedule === "interleaved1f1b" ? "interleaved1f1b" : "1f1b",
  stages: asked !== "auto" && asked.stages ? asked.stages : layout.stages,
  recompute: layout.recompute.kind === "full" ? "full" : "none",
  slotsPerRank: layout.slotsPerRank ?? null,
});

/** The plan of a recipe on this machine: the layout it asks for, or the fastest that fits, beside every other legal one. */
function planRecipe({ recipe, recipeFolder }: Pick<PhaseContext, "recipe" | "recipeFolder">): {
  plan: Plan;
  layout: WorkerLayout;
  others: Plan | null;
} {
  const file = join(resolve(recipeFolder, recipe.model.base), "config.json");
  const model = unwrap(parseModel(readFileSync(file, "utf8"), { file, name: recipe.name }));
  const asked = recipe.layout;
  const world =
    asked === "auto"
      ? availableParallelism() * RANKS_PER_CORE
      : worldOfLayout({ ...asked, stages: evenStages(1, 1) });
  const request = {
    model,
    cluster: thisMachine(world),
    training: trainingOf(recipe, model.mtp.length > 0),
    world,
  };
  const plan = unwrap(
    makePlan({
      ...request,
      constraints: constraintsOf(asked, recipe.batch.microBatch, recipe.moe.spareSlots),
    }),
  );
  const free =
    asked === "auto"
      ? null
      : makePlan({
          ...request,
          constraints: constraintsOf("auto", recipe.batch.microBatch, recipe.moe.spareSlots),
        });
  return { plan, layout: workerLayout(plan.layout, asked), others: free?.ok ? free.value : null };
}

export const plan: Phase<"plan"> = {
  input: ({ recipe }) => ({
    layout: recipe.layout,
    batch: recipe.batch,
    precision: recipe.precision,
    base: recipe.model.base,
    spareSlots: recipe.moe.spareSlots,
  }),
  run: async (context) => {
    const { plan, layout, others } = planRecipe(context);
    const file = paths(context.folder).plan;
    const asked = context.recipe.layout !== "auto";
    writeFileAtomic(
      file,
      `${JSON.stringify({ ...plan, asked, memory: plainMemory(plan), others: others && brief(others), workerLayout: layout }, null, 2)}\n`,
    );
    return { layout, file, name: plan.name };
  },
};

/** Typed arrays become plain lists in JSON. */
const plainMemory = (plan: Plan) => ({ ...plan.memory, classOf: [...plan.memory.classOf] });

const brief = (other: Plan) => ({
  name: other.name,
  seconds: other.time.seconds,
  why: other.why,
  alternatives: other.alternatives.map(({ name, seconds, free, why }) => ({ name, seconds, free, why })),
  rejected: other.rejected,
  searched: other.searched,
});
