import { bodyWeights, type Model, type Weight } from "../../model/index.ts";
import { type Layout, stageRank, type Training } from "../layout.ts";
import { layersOfStage, localElements, shardCounts } from "./shards.ts";

/**
 * Whole weights and gradients that a rank holds for a while under ZeRO-3 (FSDP2), in bytes. A layer is the unit: while one
 * runs, the next one is gathered already; in the backward pass the layer's whole gradient waits in its own format and in the one it
 * is reduced in. Without resharding all layers of the rank stay whole between the passes of a step.
 * Source: torch.distributed.fsdp.fully_shard (prefetch of one, reduce_dtype), applied block by block as torchtitan does.
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
  const weights = layout.reshardAfterForward ? Math.min(all, 2 * largest) : all;
  return compute * weights + (compute + reduce) * largest;
}
