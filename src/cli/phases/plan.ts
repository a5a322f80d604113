import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { formatBytes, unwrap } from "../../base/index.ts";
import { writeFileAtomic } from "../../base/node.ts";
import { type Cluster, presetCluster } from "../../cluster/index.ts";
import {
  type Constraints,
  FLOAT32,
  type Layout,
  plan as makePlan,
  type Plan,
  type Precision,
  predictMemory,
  stageHomes,
  type Training,
} from "../../layout/index.ts";
import { type Model, parseModel } from "../../model/index.ts";
import { machineMemory } from "../memory.ts";
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
  model: Model;
  cluster: Cluster;
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
  return {
    plan,
    layout: workerLayout(plan.layout, asked),
    others: free?.ok ? free.value : null,
    model,
    cluster: request.cluster,
  };
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
    const { plan, layout, others, model, cluster } = planRecipe(context);
    const file = paths(context.folder).plan;
    const asked = context.recipe.layout !== "auto";
    writeFileAtomic(
      file,
      `${JSON.stringify({ ...plan, asked, memory: plainMemory(plan), others: others && brief(others), workerLayout: layout }, null, 2)}\n`,
    );
    return { layout, file, name: plan.name, memory: memoryNeeds(plan, model, cluster) };
  },
};

/** Bytes of tensors that every rank will hold at its peak, for the check against its device, and what would need less. */
function memoryNeeds(plan: Plan, model: Model, cluster: Cluster): { needed: number[]; lighter: string } {
  const { layout, training, memory } = plan;
  const of = (report: Plan["memory"], rank: number) =>
    report.classes[report.classOf[rank] as number]?.memory.reserved ?? 0;
  const needed = Array.from({ length: memory.world }, (_, rank) => Math.ceil(of(memory, rank)));
  const homes = stageHomes(cluster, layout);
  const lighter = [
    ["layout.recompute: full", { ...layout, recompute: { kind: "full" } as const }, training],
    ["batch.microBatch: 1", layout, { ...training, microBatch: 1 }],
  ] as const;
  const texts = lighter.flatMap(([name, other, how]) => {
    const report = predictMemory(model, other, how, "tessera", homes);
    const most = Math.max(...needed.map((_, rank) => of(report, rank)));
    return most < Math.max(...needed) ? [`${name} (${formatBytes(most)})`] : [];
  });
  return { needed, lighter: texts.join(", ") };
}

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
