/**
 * Our engine: transformers classes under FSDP2, one group a layer, one for its experts, one for the rest of a stage.
 *
 * Shards are float32 whatever the compute type is (they are the optimizer's master copy), gradients are reduced in
 * float32, moments are float32. A dense tensor is cut on dimension 0 as torch.chunk does; a tensor of experts has its
 * slots on dimension 0 and is cut over the remaining ranks on dimension 1.
 */
import { bodyWeights, elements, type Model, type Weight } from "../../model/index.ts";
import { type Layout, microBatches, stageRank, type Training } from "../layout.ts";
import { finish, peakOf } from "./peak.ts";
import { type Part, stageNeed } from "./parts.ts";
import { scopeOf } from "./megatron.ts";
import { chunkRange, lastStage, layersOfStage, rankWeights } from "./shards.ts";
import { rankMoments } from "./timeline.ts";
import { eagerHead, eagerLayer } from "./eager.ts";
import type { Bytes, RankMemory } from "./types.ts";

const SHARD_BYTES = 4;
const MOMENTS = 2;

export const expertShards = (layout: Layout): number => layout.dpShard / layout.ep;

/** Elements of a weight on shard `index` (of dpShard) of its stage. */
export function shardElements(weight: Weight, layout: Layout, index: number): number {
  const all = elements(weight);
  const rows = weight.shape[0] as number;
  if (weight.cut.kind === "expert") {
    const slots = layout.slotsPerRank ?? rows / layout.ep;
    return ((all / rows) * slots) / expertShards(layout);
  }
  if (!weight.trained) return all;
  const [from, to] = chunkRange(rows, layout.dpShard, index);
  return (all / rows) * (to - from);
}

/** State of a stage as a function of the shard: rows of equal length are summed, so a shard costs a few additions. */
export class StageState {
  readonly #rows = new Map<number, number>();
  readonly buffers: number;
  /** Elements of experts on every shard, and whole on their ep rank. */
  readonly experts: number;
  readonly expertsWhole: number;
  readonly #layout: Layout;
  readonly dense: number;

  constructor(model: Model, layout: Layout, training: Training, ppRank: number) {
    this.#layout = layout;
    let buffers = 0;
    let experts = 0;
    let dense = 0;
    for (const { weights, times } of rankWeights(model, layout, training, ppRank)) {
      for (const w of weights) {
        const rows = w.shape[0] as number;
        if (!w.trained) buffers += times * elements(w) * (w.counted ? 4 : 8);
        else if (w.cut.kind === "expert") experts += times * shardElements(w, layout, 0);
        else {
          this.#rows.set(rows, (this.#rows.get(rows) ?? 0) + (times * elements(w)) / rows);
          dense += times * elements(w);
        }
      }
    }
    this.buffers = buffers;
    this.experts = experts;
    this.expertsWhole = experts * expertShards(layout);
    this.dense = dense;
  }

  elements(index: number): number {
    let sum = this.experts;
    for (const [rows, width] of this.#rows) {
      const [from, to] = chunkRange(rows, this.#layout.dpShard, index);
      sum += (to - from) * width;
    }
    return sum;
  }
}

export type TesseraRank = { readonly ppRank: number; readonly shard: number };

/** What all shards of a pipeline rank share: the peak of its passes and its gathered weights. */
export function tesseraStage(model: Model, layout: Layout, training: Training, ppRank: number, load: number) {
  const scope = scopeOf(model, layout, training, load);
  const all = rankMoments(layout.schedule, layout.pp, layout.vpp, microBatches(layout, training));
  const { stages, moments } = all[ppRank] as (typeof all)[number];
  const needs = new Map(
    stages.map((stage) => {
      const recompute = layout.stageRecompute?.[stage] ?? layout.recompute;
      const parts: Part[] = layersOfStage(model, layout, training, stage).map(({ body }) =>
        eagerLayer(body, scope, recompute.kind === "full"),
      );
      if (stage === lastStage(layout)) {
        for (let i = 0; i < 1 + (training.mtp ? model.mtp.length : 0); i++)
          parts.push(eagerHead(model, scope));
      }
      return [stage, stageNeed(parts)] as const;
    }),
  );
  const peak = peakOf(moments, stages, needs, () => 0);
  return {
    peak,
    state: new StageState(model, layout, training, ppRank),
    gathered: gathered(model, layout, training, ppRank),
  };
}

/**
 * Weights gathered for use and gradients on their way to being reduced. With a pipeline the weights of all layers stay
 * for the step; without, one layer's and the next one's are there at a time.
 */
function gathered(model: Model, layout: Layout, training: Training, ppRank: number): number {
  const bytes = training.precision.weights === "float32" ? 4 : 2;
  const size = (weights: readonly Weight[]) =>
    weights.reduce((sum, w) => {
      if (!w.trained) return sum;
      return (
        sum + (w.cut.kind === "expert" ? shardElements(w, layout, 0) * expertShards(layout) : elements(w))
      );
    }, 0);
  let all = 0;
  let largest = 0;
  layout.stages.forEach((_, stage) => {
    if (stageRank(layout, stage) !== ppRank) return;
    for (const { body } of layersOfStage(model, layout, training, stage)) {
      const one = size(bodyWeights(body));
      all += one;
      largest = Math.max(largest, one);
    }
  });
  const root = rankWeights(model, layout, training, ppRank).filter(
    ({ weights }) => weights === model.embedding.weights || weights === model.head.weights,
  );
  const rest = root.reduce((sum, { weights }) => sum + size(weights), 0);
  const keeps = layout.pp > 1 || !layout.reshardAfterForward;
  return (keeps ? all + rest : 2 * largest + rest) * bytes + largest * bytes;
}

export function tesseraRank(
  stage: ReturnType<typeof tesseraStage>,
  shard: number,
  framework: number,
): RankMemory {
  const { peak, state } = stage;
  const count = state.elements(shard);
  const bytes: Bytes = {
    weights: count * SHARD_BYTES,
    gradients: count * SHARD_BYTES,
    optimizer: count * SHARD_BYTES * MOMENTS,
    activations: peak.kept - peak.loss + peak.extra.activations,
    unshard: stage.gathered,
    communication: 0,
    loss: peak.loss + peak.extra.loss,
    workspace: state.buffers + peak.extra.workspace,
  };
  return finish(bytes, 0, peak.moment, framework);
}
