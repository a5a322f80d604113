import { bodyWeights, type Model, type Weight, wordTable } from "../../model/index.ts";
import { type Layout, stageRank, type Training } from "../layout.ts";
import { layersOfStage, localElements, rankWeights, shardCounts } from "./shards.ts";

/**
 * Whole weights and gradients that a rank holds for a while under ZeRO-3 (FSDP2), in bytes. A layer is the unit: while one
 * runs, the next one is gathered already; in the backward pass the layer's whole gradient waits in its own format and in the one it
 * is reduced in. What lies outside the layers stays whole from its first use to its gradient's end. Without resharding all layers of the
 * rank stay whole between the passes of a step, and under a pipeline their gradients too, summed in the format they are reduced in.
 * Source: torch.distributed.fsdp.fully_shard (prefetch of one, reduce_dtype, `to_accumulated_grad_if_needed`), applied block by block as
 * torchtitan does.
 */
export function gathered(model: Model, layout: Layout, training: Training, ppRank: number): number {
  if (layout.zero < 3) return 0;
  const { precision } = training;
  const compute = precision.activations === "float32" ? 4 : 2;
  const reduce = precision.gradients === "float32" ? 4 : 2;
  const shards = shardCounts(layout);
  const whole = (weights: readonly Weight[]): number =>
    weights.reduce((sum, weight) => {
      const over = weight.cut.kind === "expert" ? shards.expert : shards.dense;
      // What is not cut is whole already: with one expert copy a stage, its experts are never gathered.
      return over > 1 && weight.trained ? sum + localElements(weight, layout) : sum;
    }, 0);
  let largest = 0;
  let all = 0;
  layout.stages.forEach((_, stage) => {
    if (stageRank(layout, stage) !== ppRank) return;
    for (const { body } of layersOfStage(model, layout, training, stage)) {
      const size = whole(bodyWeights(body));
      largest = Math.max(largest, size);
      all += size;
    }
  });
  const outside = new Set([model.embedding.weights, wordTable(model), model.head.weights]);
  const root = rankWeights(model, layout, training, ppRank).reduce(
    (sum, { weights, times }) => sum + (outside.has(weights) ? times * whole(weights) : 0),
    0,
  );
  const weights = layout.reshardAfterForward ? Math.min(all, 2 * largest) : all;
  const waiting = layout.pp > 1 && !layout.reshardAfterForward ? reduce * all : reduce * largest;
  return compute * (weights + 2 * root) + compute * largest + waiting;
}
