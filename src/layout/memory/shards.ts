/**
 * How many elements of a weight lie on a rank. Two ways of cutting meet:
 * - model cuts (tp, ep, etp), decided by the weight's `Cut`;
 * - data shards. FSDP2 (our engine) cuts dimension 0 into chunks of ceil(n / d), as torch.chunk does, so late ranks
 *   may hold less or nothing; Megatron's distributed optimizer cuts a flat buffer evenly.
 */
import {
  bodyWeights,
  elements,
  type Layer,
  type LayerBody,
  type Model,
  type Weight,
  wordTable,
} from "../../model/index.ts";
import { type Layout, stageRank, stageRanks, type Training } from "../layout.ts";
import { identity, memo } from "./memo.ts";

/** Rows [from, to) of n that shard `index` of `count` holds under torch.chunk. */
export function chunkRange(n: number, count: number, index: number): [number, number] {
  const size = Math.ceil(n / count);
  return [Math.min(n, index * size), Math.min(n, (index + 1) * size)];
}

/** Part of a dimension of `units` groups on one of `ways` ranks; with fewer groups than ranks, neighbours share one. */
export const unitShare = (units: number, ways: number): number => Math.max(1 / ways, 1 / units);

/** Elements left of a weight after the model cuts, before any data shard. */
export function localElements(
  weight: Weight,
  layout: Pick<Layout, "tp" | "ep" | "etp" | "slotsPerRank">,
): number {
  const all = elements(weight);
  const { cut } = weight;
  switch (cut.kind) {
    case "replicated":
      return all;
    case "tensor":
      return layout.tp === 1 ? all : all * unitShare(cut.units ?? Number.POSITIVE_INFINITY, layout.tp);
    case "expert": {
      const one = all / (weight.shape[0] as number);
      const slots = layout.slotsPerRank ?? (weight.shape[0] as number) / layout.ep;
      return (slots * one) / (cut.dim === null ? 1 : layout.etp);
    }
  }
}

/** Weights of one pipeline rank, with how many times each occurs. */
export type RankWeights = readonly { readonly weights: readonly Weight[]; readonly times: number }[];

/** Last virtual stage: it holds the final norm, the head and the multi-token-prediction modules. */
export const lastStage = (layout: Layout): number => layout.stages.length - 1;

/** Whether the last stage holds its own copy of the input embedding: for a tied head, or for MTP modules. */
export const embedsTwice = (model: Model, layout: Layout, training: Training): boolean =>
  layout.stages.length > 1 &&
  stageRank(layout, lastStage(layout)) !== stageRank(layout, 0) &&
  (model.tied || (training.mtp && model.mtp.length > 0));

export function layersOfStage(
  model: Model,
  layout: Layout,
  training: Training,
  stage: number,
): readonly Layer[] {
  const own = (layout.stages[stage] ?? []).map((index) => model.layers[index] as Layer);
  return stage === lastStage(layout) && training.mtp ? [...own, ...model.mtp] : own;
}

/** Everything that pipeline rank `ppRank` holds. A search asks it of one stage split under many layouts, so splits are remembered. */
export function rankWeights(model: Model, layout: Layout, training: Training, ppRank: number): RankWeights {
  const last = stageRank(layout, lastStage(layout));
  const key = `${identity(model)}/${layout.pp}/${last}/${training.mtp}`;
  const ranks = perSplit(layout.stages, key, () =>
    Array.from({ length: layout.pp }, (_, rank) => weightsOf(model, layout, training, rank)),
  );
  return ranks[ppRank] as RankWeights;
}

const perSplit = memo<Layout["stages"], RankWeights[]>();

function weightsOf(model: Model, layout: Layout, training: Training, ppRank: number): RankWeights {
  const bodies = new Map<LayerBody, number>();
  const out: { weights: readonly Weight[]; times: number }[] = [];
  layout.stages.forEach((_, stage) => {
    if (stageRank(layout, stage) !== ppRank) return;
    if (stage === 0) out.push({ weights: model.embedding.weights, times: 1 });
    if (stage === lastStage(layout)) {
      out.push({ weights: model.head.weights, times: 1 });
      if (embedsTwice(model, layout, training)) out.push({ weights: wordTable(model), times: 1 });
    }
    for (const { body } of layersOfStage(model, layout, training, stage)) {
      bodies.set(body, (bodies.get(body) ?? 0) + 1);
    }
  });
  for (const [body, times] of bodies) out.push({ weights: bodyWeights(body), times });
  return out;
}

/** Ranks over which a dense weight's data shards run, and those of an expert. */
export function shardCounts(layout: Layout): { dense: number; expert: number } {
  return {
    dense: layout.dpShard * layout.cp,
    expert: Math.max(1, stageRanks(layout) / (layout.ep * layout.etp) / layout.dpReplicate),
  };
}
