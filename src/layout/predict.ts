import type { Model } from "../model/index.ts";
import { type Layout, microBatches, stageRank, stageRanks, type Training, worldOf } from "./layout.ts";
import type { MemoryReport, RankClass } from "./memory/types.ts";
import type { Engine } from "./search/index.ts";
import { type StageHome, stageParameters } from "./time/index.ts";

/** Memory of every rank of a layout. */
export function predictMemory(
  model: Model,
  layout: Layout,
  training: Training,
  _engine: Engine,
  homes: readonly StageHome[],
): MemoryReport {
  const { precision } = training;
  const parameters = stageParameters(model, layout, training.mtp);
  const ranks = stageRanks(layout);
  const shard = layout.dpShard * layout.cp;
  const expertShard = Math.max(1, ranks / (layout.ep * layout.etp) / layout.dpReplicate);
  const w = precision.weights === "float32" ? 4 : 2;
  const g = precision.gradients === "float32" ? 4 : 2;
  const o = (precision.master === "float32" ? 4 : 0) + 8;
  const tokens =
    (training.microBatch * training.sequence) / layout.cp / (layout.sequenceParallel ? layout.tp : 1);
  const classes: RankClass[] = parameters.map((p, ppRank) => {
    const each = (bytes: number, cut: boolean) =>
      bytes * (p.dense / (cut ? shard : 1) + p.expert / (cut ? expertShard : 1));
    const weights = each(w, layout.zero === 3);
    const gradients = each(g, layout.zero >= 2);
    const all = each(o, layout.zero >= 1);
    const live = Math.min(microBatches(layout, training), layout.pp - ppRank);
    const layers = layout.stages.reduce((n, s, i) => n + (stageRank(layout, i) === ppRank ? s.length : 0), 0);
    const per =
      layout.recompute.kind === "full" ? 2 * model.hidden * model.streams : 34 * model.hidden * model.streams;
    const activations = per * tokens * layers * live;
    const optimizer = all * (1 - layout.offload.optimizer);
    const allocated = weights + gradients + optimizer + activations;
    return {
      first: ppRank * ranks,
      count: ranks,
      ppRank,
      memory: {
        bytes: {
          weights,
          gradients,
          optimizer,
          activations,
          unshard: 0,
          communication: 0,
          loss: 0,
          workspace: 0,
        },
        allocated,
        fragmentation: allocated * 0.04,
        reserved: allocated * 1.04,
        framework: (homes[ppRank] as StageHome).device.contextBytes,
        host: all * layout.offload.optimizer,
        peak: { pass: "forward", stage: ppRank, live: [live] },
      },
    };
  });
  const classOf = new Uint16Array(worldOf(layout));
  classes.forEach((c, i) => classOf.fill(i, c.first, c.first + c.count));
  let worst = 0;
  classes.forEach((c, i) => {
    if (c.memory.reserved > (classes[worst] as RankClass).memory.reserved) worst = i;
  });
  return { world: worldOf(layout), classes, classOf, worst };
}
