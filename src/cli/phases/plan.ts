import { formatBytes, unwrap } from "../../base/index.ts";
import { writeFileAtomic } from "../../base/node.ts";
import type { Cluster } from "../../cluster/index.ts";
import { type Layout, plan as makePlan, type Plan, predictMemory, stageHomes } from "../../layout/index.ts";
import type { Model } from "../../model/index.ts";
import { paths, type Phase, type PhaseContext, type Recipe, type WorkerLayout } from "../../run/index.ts";
import { recipeRequest } from "../planner/recipe.ts";

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
  const request = recipeRequest(recipe, recipeFolder);
  const plan = unwrap(makePlan(request));
  // The same machine, whatever else has taken memory in the meantime.
  const free =
    recipe.layout === "auto"
      ? null
      : makePlan(recipeRequest(recipe, recipeFolder, { cluster: request.cluster, free: true }));
  return {
    plan,
    layout: workerLayout(plan.layout, recipe.layout),
    others: free?.ok ? free.value : null,
    model: request.model,
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
