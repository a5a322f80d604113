/**
 * Work of one token, averaged over a sequence. A multiply-accumulate is 2 FLOPs; training does 3 passes (forward,
 * gradient of the input, gradient of the weight), so FLOPs = 6 * MACs. Recomputation never counts here.
 *
 * Attention counts the pairs that are really visible: causal, inside the window or chunk, chosen by an indexer, or
 * compressed. The convention `full` counts every pair of the sequence instead, as some published MFU figures do.
 */
import { bodyWeights } from "./parameters.ts";
import type { Attention, Indexer, LayerBody, Model, MoeFeedForward, Weight } from "./types.ts";
import { elements, wordTable } from "./weights.ts";

export type PairConvention = "visible" | "full";

/** Forward MACs of one token in one layer. */
export type LayerMacs = {
  readonly linear: number;
  /** Scores and weighted sums, or the state updates of a linear attention. */
  readonly attention: number;
  /** Scoring of candidates by an indexer. */
  readonly indexer: number;
  /** Mixing of residual streams. */
  readonly mixing: number;
};

/** Mean over positions 1..s of min(position / ratio, limit). */
export function meanVisible(sequence: number, limit: number, ratio = 1): number {
  const entries = sequence / ratio;
  if (entries <= limit) return (entries + (ratio === 1 ? 1 : 0)) / 2;
  const half = ratio === 1 ? (limit * (limit + 1)) / 2 : (limit * limit) / 2;
  return (half + (entries - limit) * limit) / entries;
}

/** Keys that a query meets on average in the softmax. */
export function visibleKeys(spec: Attention, sequence: number, pairs: PairConvention = "visible"): number {
  if (spec.kind === "linear") return 0;
  if (pairs === "full") return sequence;
  if (spec.kind === "compressed") {
    const near = meanVisible(sequence, spec.window);
    if (spec.ratio === 0) return near;
    return near + meanVisible(sequence, spec.indexer?.topK ?? Number.POSITIVE_INFINITY, spec.ratio);
  }
  const limit = spec.kind === "grouped" && spec.window !== null ? spec.window : sequence;
  if (spec.kind === "grouped" && spec.windowKind === "chunk" && limit < sequence) return (limit + 1) / 2;
  return meanVisible(sequence, Math.min(limit, spec.indexer?.topK ?? sequence));
}

function attentionMacs(spec: Attention, sequence: number, pairs: PairConvention): number {
  const keys = visibleKeys(spec, sequence, pairs);
  switch (spec.kind) {
    case "grouped":
      return spec.heads * (spec.headDim + spec.valueDim) * keys;
    case "latent":
      return spec.heads * (spec.nopeDim + spec.ropeDim + spec.valueDim) * keys;
    case "compressed":
      return spec.heads * 2 * spec.headDim * keys;
    case "linear": {
      // Chunked form: the state is read by the query and updated once; a delta rule also reads it by the key.
      const state = spec.keyDim * spec.valueDim * (spec.flavour === "mamba2" ? 2 : 3);
      const chunk = Math.min(spec.chunk, sequence) / 2;
      const inside = chunk * (spec.keyDim + spec.valueDim) * (spec.flavour === "mamba2" ? 1 : 2);
      return spec.valueHeads * (state + inside);
    }
  }
}

function indexerMacs(indexer: Indexer | null, sequence: number): number {
  if (!indexer?.owned) return 0;
  return indexer.heads * indexer.headDim * meanVisible(sequence, Number.POSITIVE_INFINITY, indexer.ratio);
}

/** How often a token uses each element of a weight as a multiplication. */
function useShare(weight: Weight, moe: MoeFeedForward | undefined): number {
  if (weight.use === "lookup" || weight.use === "vector") return 0;
  if (weight.cut.kind !== "expert" || moe === undefined) return 1;
  return moe.topK / (moe.experts + moe.zeroExperts);
}

export function moeOf(body: LayerBody): MoeFeedForward | undefined {
  for (const s of body.sublayers) if (s.role === "feedForward" && s.spec.kind === "moe") return s.spec;
  return undefined;
}

const cache = new WeakMap<LayerBody, Map<string, LayerMacs>>();

export function layerMacs(
  model: Pick<Model, "hidden" | "streams">,
  body: LayerBody,
  sequence: number,
  pairs: PairConvention = "visible",
): LayerMacs {
  const key = `${sequence}/${pairs}`;
  const known = cache.get(body)?.get(key);
  if (known) return known;
  const mixture = moeOf(body);
  let linear = 0;
  for (const w of bodyWeights(body)) linear += elements(w) * useShare(w, mixture);
  let attention = 0;
  let indexer = 0;
  for (const s of body.sublayers) {
    if (s.role !== "attention") continue;
    attention += attentionMacs(s.spec, sequence, pairs);
    if (s.spec.kind !== "linear") indexer += indexerMacs(s.spec.indexer, sequence);
  }
  // Two branches a layer, each: gather n streams into one (n), mix them (n * n), spread the result (n).
  const n = model.streams;
  const mixing = n === 1 ? 0 : 2 * (n * n + 2 * n) * model.hidden;
  const macs = { linear, attention, indexer, mixing };
  const map = cache.get(body) ?? new Map<string, LayerMacs>();
  map.set(key, macs);
  cache.set(body, map);
  return macs;
}

export type TokenFlops = LayerMacs & { readonly total: number };

/**
 * Training FLOPs of one token (6 * MACs), head included, embedding lookup not. Multi-token-prediction modules run the
 * head once more each.
 */
export function flopsPerToken(
  model: Model,
  sequence: number,
  options: { readonly mtp?: boolean; readonly pairs?: PairConvention } = {},
): TokenFlops {
  const mtp = (options.mtp ?? true) ? model.mtp : [];
  let head = 0;
  for (const w of model.head.weights) if (w.use === "linear") head += elements(w);
  for (const w of model.tied ? wordTable(model) : []) head += elements(w);
  let linear = head * (1 + mtp.length);
  for (const w of model.embedding.weights) if (w.use === "linear") linear += elements(w);
  let attention = 0;
  let indexer = 0;
  let mixing = 0;
  for (const { body } of [...model.layers, ...mtp]) {
    const macs = layerMacs(model, body, sequence, options.pairs);
    linear += macs.linear;
    attention += macs.attention;
    indexer += macs.indexer;
    mixing += macs.mixing;
  }
  return {
    linear: 6 * linear,
    attention: 6 * attention,
    indexer: 6 * indexer,
    mixing: 6 * mixing,
    total: 6 * (linear + attention + indexer + mixing),
  };
}
