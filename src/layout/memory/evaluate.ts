/** Memory of every rank of a layout. */
import type { Model } from "../../model/index.ts";
import { type Layout, microBatches, stageRank, stageRanks, type Training, worldOf } from "../layout.ts";
import { fragmentation } from "./fragmentation.ts";
import {
  MEGATRON_2026,
  type MegatronStack,
  namedGradients,
  padVocabulary,
  scopeOf,
  standing,
  stageParts,
} from "./megatron.ts";
import { type Extra, type StageNeed, stageNeed } from "./parts.ts";
import { lastStage } from "./shards.ts";
import { evenStateBytes, rankElements } from "./states.ts";
import { type Moment, rankMoments } from "./timeline.ts";
import type { Bytes, EngineKind, MemoryReport, RankClass, RankMemory } from "./types.ts";

export type MemoryOptions = {
  readonly engine: EngineKind;
  readonly stack?: MegatronStack;
  /** Outside the tensor allocator: device context, communicators. From the device. */
  readonly framework?: number;
  /** Tokens that a rank's experts compute against their even share; 1 is balanced. */
  readonly load?: number;
};

/** The worst moment of a rank: what stays, and the pass that needs most on top. */
export type Peak = {
  readonly moment: Moment;
  readonly kept: number;
  readonly loss: number;
  readonly extra: Extra;
};

export function peakOf(
  moments: readonly Moment[],
  stages: readonly number[],
  needs: ReadonlyMap<number, StageNeed>,
  named: (backward: boolean) => number,
): Peak {
  let best: Peak | undefined;
  let most = Number.NEGATIVE_INFINITY;
  for (const moment of moments) {
    let kept = 0;
    let loss = 0;
    moment.live.forEach((count, i) => {
      const need = needs.get(stages[i] as number) as StageNeed;
      kept += count * need.kept;
      loss += count * need.loss;
    });
    const need = needs.get(moment.stage) as StageNeed;
    const extra = moment.backward ? need.backward : need.forward;
    const total = kept + extra.total + named(moment.backward);
    if (total > most) {
      most = total;
      best = { moment, kept, loss, extra };
    }
  }
  return best as Peak;
}

/**
 * Bytes of every rank, by category, at the moment of its peak. The layout must be legal.
 *
 * @example
 * const report = memoryOf(model, layout, training, { engine: "megatron" });
 * report.classes[report.worst].memory.reserved; // bytes
 */
export function memoryOf(
  model: Model,
  layout: Layout,
  training: Training,
  options: MemoryOptions,
): MemoryReport {
  const ranks = stageRanks(layout);
  const memories = Array.from({ length: layout.pp }, (_, ppRank) =>
    megatronRank(model, layout, training, ppRank, options),
  );
  const classes: RankClass[] = memories.map((memory, ppRank) => ({
    first: ppRank * ranks,
    count: ranks,
    ppRank,
    memory,
  }));
  const classOf = new Uint16Array(worldOf(layout));
  classes.forEach((c, i) => classOf.fill(i, c.first, c.first + c.count));
  return { world: worldOf(layout), classes, classOf, worst: worstOf(classes) };
}

export function worstOf(classes: readonly RankClass[]): number {
  let worst = 0;
  classes.forEach((c, i) => {
    const other = classes[worst] as RankClass;
    if (c.memory.reserved + c.memory.framework > other.memory.reserved + other.memory.framework) worst = i;
  });
  return worst;
}

function megatronRank(
  model: Model,
  layout: Layout,
  training: Training,
  ppRank: number,
  options: MemoryOptions,
): RankMemory {
  const stack = options.stack ?? MEGATRON_2026;
  const scope = scopeOf(model, layout, training, options.load ?? 1);
  const count = rankElements(model, layout, training, ppRank, padVocabulary(stack, layout.tp));
  const states = evenStateBytes(count, layout, training);
  const all = rankMoments(layout.schedule, layout.pp, layout.vpp, microBatches(layout, training));
  const { stages, moments } = all[ppRank] as (typeof all)[number];
  const needs = new Map(
    stages.map((stage) => [stage, stageNeed(stageParts(model, layout, training, stage, scope, stack))]),
  );
  const named = (backward: boolean) => namedGradients(layout, scope, ppRank, backward);
  const peak = peakOf(moments, stages, needs, named);
  const holdsHead = stageRank(layout, lastStage(layout)) === ppRank;
  const fixed = standing(model, layout, training, ppRank, scope, stack, holdsHead);
  const bytes: Bytes = {
    weights: states.weights,
    gradients: states.gradients,
    optimizer: states.optimizer,
    activations: peak.kept - peak.loss + peak.extra.activations,
    unshard: 0,
    communication: named(peak.moment.backward),
    loss: peak.loss + peak.extra.loss,
    workspace: fixed + peak.extra.workspace,
  };
  const host = states.host + hostActivations(peak.moment, stages, needs);
  return finish(bytes, host, peak.moment, options.framework ?? 0);
}

export function hostActivations(
  moment: Moment,
  stages: readonly number[],
  needs: ReadonlyMap<number, StageNeed>,
): number {
  return moment.live.reduce(
    (sum, count, i) => sum + count * (needs.get(stages[i] as number) as StageNeed).host,
    0,
  );
}

export function finish(bytes: Bytes, host: number, moment: Moment, framework: number): RankMemory {
  const allocated = Object.values(bytes).reduce((sum, value) => sum + value, 0);
  const extra = fragmentation(bytes);
  return {
    bytes,
    allocated,
    fragmentation: extra,
    reserved: allocated + extra,
    framework,
    host,
    peak: { pass: moment.backward ? "backward" : "forward", stage: moment.stage, live: moment.live },
  };
}
