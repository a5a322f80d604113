/** Memory of every rank of a layout. */
import type { Model } from "../../model/index.ts";
import { type Layout, microBatches, stageRank, stageRanks, type Training, worldOf } from "../layout.ts";
import { gathered } from "./gather.ts";
import { namedGradients, padVocabulary, scopeOf, standing, stageNeeds } from "./megatron.ts";
import { MEGATRON_2026, type MegatronStack, type ProductFormats } from "./stack.ts";
import type { StageNeed } from "./parts.ts";
import { finish, hostActivations, peakOf } from "./peak.ts";
import type { Scope } from "./saved.ts";
import { lastStage } from "./shards.ts";
import { evenStateBytes, rankElements } from "./states.ts";
import { tesseraRank, tesseraStage } from "./tessera.ts";
import { rankMoments } from "./timeline.ts";
import type { Bytes, EngineKind, MemoryReport, RankClass, RankMemory } from "./types.ts";

export type MemoryOptions = {
  readonly engine: EngineKind;
  readonly stack?: MegatronStack;
  /** Formats of products; absent: that of the activations. */
  readonly formats?: ProductFormats;
  /** Outside the tensor allocator: device context, communicators. From the device. */
  readonly framework?: number;
  /** Tokens that a rank's experts compute against their even share; 1 is balanced. */
  readonly load?: number;
};

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
  const classes =
    options.engine === "tessera"
      ? tesseraClasses(model, layout, training, options)
      : megatronClasses(model, layout, training, options);
  const classOf = new Uint16Array(worldOf(layout));
  classes.members.forEach((ranks, i) => {
    for (const [from, to] of ranks) classOf.fill(i, from, to);
  });
  return { world: worldOf(layout), classes: classes.list, classOf, worst: worstOf(classes.list) };
}

/** Classes and, for each, the ranges of ranks in it. */
type Classes = {
  readonly list: readonly RankClass[];
  readonly members: readonly (readonly (readonly [number, number])[])[];
};

function megatronClasses(model: Model, layout: Layout, training: Training, options: MemoryOptions): Classes {
  const ranks = stageRanks(layout);
  const stack = options.stack ?? MEGATRON_2026;
  const formats = stack.keepsCasts ? options.formats : undefined;
  const scope = scopeOf(model, layout, training, options.load ?? 1, formats);
  const setting: Setting = { stack, scope, needs: stageNeeds(model, layout, training, scope, stack) };
  const list = Array.from({ length: layout.pp }, (_, ppRank) => ({
    first: ppRank * ranks,
    count: ranks,
    ppRank,
    memory: megatronRank(model, layout, training, ppRank, setting, options.framework ?? 0),
  }));
  return { list, members: list.map(({ first }) => [[first, first + ranks]]) };
}

/** Shards of one stage differ only by the rows that torch.chunk gives them. */
function tesseraClasses(model: Model, layout: Layout, training: Training, options: MemoryOptions): Classes {
  const list: RankClass[] = [];
  const members: [number, number][][] = [];
  for (let ppRank = 0; ppRank < layout.pp; ppRank++) {
    const stage = tesseraStage(model, layout, training, ppRank, options.load ?? 1);
    for (const { from, to } of stage.state.ranges()) {
      const starts = Array.from(
        { length: layout.dpReplicate },
        (_, i) => (ppRank * layout.dpReplicate + i) * layout.dpShard,
      );
      list.push({
        first: (starts[0] as number) + from,
        count: (to - from) * layout.dpReplicate,
        ppRank,
        memory: tesseraRank(stage, from, options.framework ?? 0),
      });
      members.push(starts.map((start) => [start + from, start + to]));
    }
  }
  return { list, members };
}

function worstOf(classes: readonly RankClass[]): number {
  let worst = 0;
  classes.forEach((c, i) => {
    const other = classes[worst] as RankClass;
    if (c.memory.reserved + c.memory.framework > other.memory.reserved + other.memory.framework) worst = i;
  });
  return worst;
}

/** What the ranks of one layout share. */
type Setting = {
  readonly stack: MegatronStack;
  readonly scope: Scope;
  readonly needs: readonly StageNeed[];
};

function megatronRank(
  model: Model,
  layout: Layout,
  training: Training,
  ppRank: number,
  { stack, scope, needs }: Setting,
  framework: number,
): RankMemory {
  const count = rankElements(model, layout, training, ppRank, padVocabulary(stack, layout.tp));
  const states = evenStateBytes(count, layout, training);
  const all = rankMoments(layout.schedule, layout.pp, layout.vpp, microBatches(layout, training));
  const { stages, moments } = all[ppRank] as (typeof all)[number];
  const named = (backward: boolean) => namedGradients(layout, scope, ppRank, backward);
  const peak = peakOf(moments, stages, needs, named);
  const holdsHead = stageRank(layout, lastStage(layout)) === ppRank;
  const fixed = standing(model, layout, training, ppRank, scope, stack, holdsHead);
  const bytes: Bytes = {
    weights: states.weights,
    gradients: states.gradients,
    optimizer: states.optimizer,
    activations: peak.kept - peak.loss + peak.extra.activations,
    unshard: gathered(model, layout, training, ppRank),
    communication: named(peak.moment.backward),
    loss: peak.loss + peak.extra.loss,
    workspace: fixed + peak.extra.workspace,
  };
  const host = states.host + hostActivations(peak.moment, stages, needs);
  return finish(bytes, host, peak.moment, framework);
}
