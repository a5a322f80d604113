/**
 * Our engine: transformers classes under FSDP2, one group a layer, one for its experts, one for the rest of a stage.
 *
 * Shards are float32 whatever the compute type is (they are the optimizer's master copy), gradients are reduced in
 * float32, moments are float32. A dense tensor is cut on dimension 0 as torch.chunk does; a tensor of experts has its
 * slots on dimension 0 and is cut over the remaining ranks on dimension 1.
 */
import { elements, type LayerBody, type Model, type Weight, wordTable } from "../../model/index.ts";
import { type Layout, microBatches, type Training } from "../layout.ts";
import { finish, peakOf } from "./peak.ts";
import { type Part, stageNeed, type StageNeed } from "./parts.ts";
import { partKey, scopeOf } from "./megatron.ts";
import { memo } from "./memo.ts";
import type { Scope } from "./saved.ts";
import { chunkRange, lastStage, layersOfStage, rankWeights } from "./shards.ts";
import { rankMoments } from "./timeline.ts";
import { eagerAngles, eagerHead, eagerJoin, eagerLayer } from "./eager.ts";
import type { Bytes, RankMemory } from "./types.ts";

const SHARD_BYTES = 4;
const MOMENTS = 2;

export const expertShards = (layout: Layout): number => layout.dpShard / layout.ep;

/** Elements of a weight on shard `index` (of dpShard) of its stage. */
function shardElements(weight: Weight, layout: Layout, index: number): number {
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

type ListState = {
  buffers: number;
  experts: number;
  dense: number;
  /** Number of rows -> summed length of a row. */
  rows: Map<number, number>;
};

const listState = memo<readonly Weight[], ListState>();

function countList(weights: readonly Weight[], layout: Layout): ListState {
  const sum: ListState = { buffers: 0, experts: 0, dense: 0, rows: new Map() };
  for (const w of weights) {
    const rows = w.shape[0] as number;
    const all = elements(w);
    // Router biases are float32, tables of token ids int64.
    if (!w.trained) sum.buffers += all * (w.counted ? 4 : 8);
    else if (w.cut.kind === "expert") sum.experts += shardElements(w, layout, 0);
    else {
      sum.rows.set(rows, (sum.rows.get(rows) ?? 0) + all / rows);
      sum.dense += all;
    }
  }
  return sum;
}

/** State of a stage as a function of the shard: rows of equal length are summed, so a shard costs a few additions. */
class StageState {
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
    const key = `${layout.dpShard}/${layout.ep}/${layout.slotsPerRank ?? 0}`;
    for (const { weights, times } of rankWeights(model, layout, training, ppRank)) {
      const one = listState(weights, key, () => countList(weights, layout));
      buffers += times * one.buffers;
      experts += times * one.experts;
      dense += times * one.dense;
      for (const [rows, width] of one.rows) this.#rows.set(rows, (this.#rows.get(rows) ?? 0) + times * width);
    }
    this.buffers = buffers;
    this.experts = experts;
    this.expertsWhole = experts * expertShards(layout);
    this.dense = dense;
  }

  elements(index: number): number {
    let sum = this.experts;
    for (const [rows, width] of this.#rows) {
      const size = Math.ceil(rows / this.#layout.dpShard);
      sum += Math.max(0, Math.min(size, rows - index * size)) * width;
    }
    return sum;
  }

  /** Shards in ranges that hold equally much: chunks are full up to one shard, short there, empty after it. */
  ranges(): { from: number; to: number }[] {
    const shards = this.#layout.dpShard;
    const edges = new Set([0, shards]);
    for (const rows of this.#rows.keys()) {
      const full = Math.floor(rows / Math.ceil(rows / shards));
      if (full < shards) edges.add(full);
      if (full + 1 < shards) edges.add(full + 1);
    }
    const sorted = [...edges].sort((x, y) => x - y);
    return sorted.slice(1).map((to, i) => ({ from: sorted[i] as number, to }));
  }
}

const partOfBody = memo<LayerBody, Part>();

function eagerParts(model: Model, layout: Layout, training: Training, stage: number, scope: Scope): Part[] {
  const recompute = layout.stageRecompute?.[stage] ?? layout.recompute;
  const key = partKey(scope, recompute, layout);
  const full = recompute.kind === "full";
  const parts: Part[] = layersOfStage(model, layout, training, stage).map(({ body }) =>
    partOfBody(body, key, () => eagerLayer(body, scope, full)),
  );
  const modules = training.mtp ? model.mtp : [];
  if (stage === lastStage(layout)) {
    const joined = parts.splice(parts.length - modules.length);
    parts.push(eagerHead(model, scope, 1));
    modules.forEach((module, depth) => {
      parts.push(eagerJoin(module, scope), joined[depth] as Part, eagerHead(model, scope, depth + 2));
    });
  }
  // With recomputation the angles wait in its closure; they are no saved tensors of the layers.
  const angles = full ? 0 : eagerAngles(model, scope);
  parts.unshift({ kept: angles, loss: 0, full: angles, forward: 0, backward: 0, host: 0 });
  return parts;
}

/** What all shards of a pipeline rank share: the peak of its passes and its gathered weights. */
export function tesseraStage(model: Model, layout: Layout, training: Training, ppRank: number, load: number) {
  const scope = scopeOf(model, layout, training, load);
  const all = rankMoments(layout.schedule, layout.pp, layout.vpp, microBatches(layout, training));
  const { stages, moments } = all[ppRank] as (typeof all)[number];
  const needs: StageNeed[] = [];
  for (const stage of stages) needs[stage] = stageNeed(eagerParts(model, layout, training, stage, scope));
  const peak = peakOf(moments, stages, needs, () => 0);
  const micros = microBatches(layout, training);
  const received =
    tesseraReceive(layout, stages, micros, peak.moment.live) *
    scope.tokens *
    scope.hidden *
    scope.streams *
    scope.activation;
  return {
    peak,
    received,
    state: new StageState(model, layout, training, ppRank),
    gathered: gathered(model, layout, training, ppRank),
  };
}

/**
 * Hidden states that torch's pipeline stages hold to receive into: one for every micro-batch of the step, for
 * activations on all stages but the first and for gradients on all but the last. A micro-batch in flight keeps its
 * input in one of them, and that is counted as an activation already.
 */
function tesseraReceive(
  layout: Layout,
  stages: readonly number[],
  micros: number,
  live: readonly number[],
): number {
  if (layout.pp === 1) return 0;
  return stages.reduce((sum, stage, i) => {
    const inputs = stage === 0 ? 0 : micros - (live[i] as number);
    return sum + inputs + (stage === lastStage(layout) ? 0 : micros);
  }, 0);
}

/**
 * Weights gathered for use and gradients on their way to being reduced. With a pipeline the weights of all layers stay
 * for the step; without, one layer's and the next one's are there at a time.
 */
function gathered(model: Model, layout: Layout, training: Training, ppRank: number): number {
  const bytes = training.precision.weights === "float32" ? 4 : 2;
  const key = `${layout.dpShard}/${layout.ep}/${layout.slotsPerRank ?? 0}`;
  let all = 0;
  let largest = 0;
  let root = 0;
  const outside = new Set([model.embedding.weights, wordTable(model), model.head.weights]);
  for (const { weights, times } of rankWeights(model, layout, training, ppRank)) {
    const { experts, dense } = listState(weights, key, () => countList(weights, layout));
    const one = experts * expertShards(layout) + dense;
    if (outside.has(weights)) root += one;
    else {
      all += times * one;
      largest = Math.max(largest, one);
    }
  }
  const keeps = layout.pp > 1 || !layout.reshardAfterForward;
  return ((keeps ? all : 2 * largest) + root + largest) * bytes;
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
    communication: stage.received,
    loss: peak.loss + peak.extra.loss,
    workspace: state.buffers + peak.extra.workspace,
  };
  return finish(bytes, 0, peak.moment, framework);
}

/**
 * Bytes that one micro-batch's forward through virtual stage `stage` leaves for its backward on our engine.
 *
 * @param load pairs that the rank's experts compute for each one it sends; 1 when balanced
 */
export function savedForBackward(
  model: Model,
  layout: Layout,
  training: Training,
  stage: number,
  load = 1,
): number {
  const scope = scopeOf(model, layout, training, load);
  return stageNeed(eagerParts(model, layout, training, stage, scope)).kept;
}
