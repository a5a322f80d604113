/**
 * Tensors that the modules of our engine keep for backward, operation by operation: transformers' eager ones, and our own
 * DeepSeek-V4 layer (`engine/tessera_engine/attention.py`, `hyper.py`, `fused.py`).
 *
 * Written from the modules' code (transformers 5.23: deepseek_v3, deepseek_v4, qwen3_moe and their kin) and checked with
 * autograd's saved-tensor hooks on real ranks (`bench/layout/engine-memory.ts`). A multiplication keeps its factors, a
 * linear layer its input, softmax and sigmoid their output, a clamp its input. Norms are ours in every family.
 * Linear-attention layers fall back to the fused kernels' list.
 */
import type {
  CompressedAttention,
  DenseFeedForward,
  GroupedAttention,
  LatentAttention,
  Layer,
  LayerBody,
  Model,
  MoeFeedForward,
} from "../../model/index.ts";
import type { Part } from "./parts.ts";
import { type Scope, sublayerSaved } from "./saved.ts";

const INDEX = 8;

/** Our RMSNorm over `size` for `rows` rows: input and reciprocal root. Its output is counted where it is used. */
const norm = (s: Scope, rows: number, size: number): number => rows * (s.activation * size + 4);

/** Rotary angles of one call: cosine and sine, float32. */
const rotary = (positions: number, width: number): number => 2 * 4 * positions * width;

function grouped(spec: GroupedAttention, s: Scope): number {
  const n = s.tokens;
  const a = s.activation * n;
  const headNorms = spec.queryKeyNorm ? norm(s, n * (spec.heads + spec.keyValueHeads), spec.headDim) : 0;
  // Fused attention keeps q, k, v, its output (the output projection's input) and the log-sum-exp.
  const core = a * (spec.heads + spec.keyValueHeads) * (spec.headDim + spec.valueDim) + 4 * n * spec.heads;
  const gate = spec.gated ? 2 * a * spec.heads * spec.valueDim : 0;
  return headNorms + core + gate;
}

function latent(spec: LatentAttention, s: Scope): number {
  const n = s.tokens;
  const a = s.activation * n;
  const queryKey = spec.nopeDim + spec.ropeDim;
  const query = spec.queryRank === null ? 0 : norm(s, n, spec.queryRank) + a * spec.queryRank;
  // The low-rank keys are a view of the projection that also holds the rotary key.
  const keys = norm(s, n, spec.keyValueRank) + a * (spec.ropeDim + spec.keyValueRank);
  // Value and key sizes differ, so attention is computed in the open: q, k, v, probabilities, output.
  const scores = s.activation * spec.heads * n * s.sequence;
  return query + keys + a * spec.heads * (2 * queryKey + 2 * spec.valueDim) + scores;
}

function compressed(spec: CompressedAttention, s: Scope): number {
  const n = s.tokens;
  const a = s.activation * n;
  const { heads, headDim: dim, ratio, indexer } = spec;
  const pools = ratio === 0 ? 0 : Math.floor(s.sequence / ratio);
  // Rows longer than two windows go in blocks of one window, which see their own keys, the block before and the pools;
  // the sink is one key more.
  const banded = s.sequence % spec.window === 0 && s.sequence > 2 * spec.window;
  const seen = (banded ? 2 * spec.window : s.sequence) + pools + 1;
  const blocks = banded ? s.sequence / spec.window : 1;
  const query = norm(s, n, spec.queryRank) + a * spec.queryRank;
  // Queries before their norm, and as they meet the keys.
  const heavy = norm(s, n * heads, dim) + a * heads * dim;
  const keyValue = norm(s, n, dim) + s.activation * s.rows * blocks * seen * dim;
  // Sines of the way back; those of the way there belong to the stage.
  const angles = rotary(s.sequence, spec.ropeDim) / 4;
  const scores = s.activation * heads * n * seen;
  const output = a * heads * dim + a * spec.outputGroups * spec.outputRank;
  let pooled = 0;
  if (ratio > 0) pooled += compressor(s, pools, ratio * (indexer ? 2 : 1), dim, spec.ropeDim);
  if (indexer) {
    pooled += compressor(s, pools, 2 * ratio, indexer.headDim, spec.ropeDim);
    pooled += indexing(s, pools, indexer.heads, indexer.headDim);
  }
  return query + heavy + keyValue + angles + scores + output + pooled;
}

/** Weighted sums over windows of `width` tokens: values, weights and sum, then norm and angles of the pooled entries. */
function compressor(s: Scope, pools: number, width: number, dim: number, ropeDim: number): number {
  const entries = s.rows * pools;
  return 2 * s.activation * entries * width * dim + norm(s, entries, dim) + rotary(pools, ropeDim) / 2;
}

/** The indexer's entries, queries, scores and weights, all float32, and its own objective. */
function indexing(s: Scope, pools: number, heads: number, dim: number): number {
  const n = s.tokens;
  const scores = 4 * (s.rows * pools * dim + n * heads * dim + n * heads * pools + n * heads);
  const objective = n * pools * (1 + 4 + 4);
  return scores + objective;
}

/** SwiGLU in the open: gate, its activation, up, product; clamped inputs are kept on both sides of the clamp. */
const gatedWidths = (clamped: boolean, gated: boolean): number => (gated ? (clamped ? 6 : 4) : 2);

const dense = (spec: DenseFeedForward, s: Scope): number =>
  s.activation * s.tokens * spec.width * gatedWidths(false, spec.gated);

function mixture(spec: MoeFeedForward, s: Scope, clamped: boolean): number {
  const n = s.tokens;
  const pairs = n * spec.topK;
  const computed = pairs * s.load;
  // Scores (kept twice by sqrt(softplus)), choice, weights and their sum.
  const router = n * (4 * spec.experts * (clamped ? 2 : 1) + 4) + pairs * (INDEX + 4);
  // Two best of each group, chosen groups, mask of the others.
  const groups = spec.groups ? n * (INDEX * (2 * spec.groups.count + spec.groups.chosen) + spec.experts) : 0;
  // Orders of the way there and back, rows as computed and as returned, weights of the sum.
  const dispatch = pairs * (2 * INDEX + 4) + s.activation * (computed + pairs) * spec.expertHidden;
  // Experts take gate and up as one tensor, so the unclamped pair is kept once.
  const inside = s.activation * computed * spec.width * gatedWidths(clamped, spec.gated);
  const shared = s.activation * n * spec.sharedWidth * gatedWidths(clamped, spec.gated);
  return router + groups + dispatch + inside + shared;
}

/**
 * Hyper-connection around one branch: streams, the reciprocal root, raw mixing weights, their sigmoids and softmax, every round of
 * normalising, the weights as they are used, and the branch output that is mixed in.
 */
function hyperConnection(s: Scope): number {
  const n = s.streams;
  if (n === 1) return 0;
  const mixing = 1 + (2 + n) * n + 2 * n + n * n + 2 * s.mixingRounds * n * n;
  const kept = s.tokens * (4 * mixing + s.activation * (n * s.hidden + s.hidden + 2 * n + n * n));
  // Scales, and the projection in float32 where the parameter is not.
  const rows = 4 * (2 + n) * n;
  return kept + rows + (s.activation === 4 ? 0 : rows * n * s.hidden);
}

/** One layer without recomputation. */
function eagerSaved(body: LayerBody, s: Scope): number {
  const one = s.activation * s.tokens * s.hidden;
  let bytes = 0;
  for (const sublayer of body.sublayers) {
    const { spec } = sublayer;
    // Branch norm, and its output as the first linear layers' input.
    bytes += hyperConnection(s) + norm(s, s.tokens, s.hidden) + one;
    if (spec.kind === "grouped") bytes += grouped(spec, s);
    else if (spec.kind === "latent") bytes += latent(spec, s);
    else if (spec.kind === "compressed") bytes += compressed(spec, s);
    else if (spec.kind === "dense") bytes += dense(spec, s);
    else if (spec.kind === "moe") bytes += mixture(spec, s, s.streams > 1);
    else bytes += sublayerSaved(sublayer, s).reduce((sum, tensor) => sum + tensor.bytes, 0);
  }
  return bytes;
}

export function eagerLayer(body: LayerBody, s: Scope, recompute: boolean): Part {
  const saved = eagerSaved(body, s);
  const input = s.tokens * s.hidden * s.streams * s.activation;
  let temporary = 2 * input;
  for (const { spec } of body.sublayers) {
    if (spec.kind === "moe") {
      const pairs = s.tokens * spec.topK * s.load * s.activation;
      temporary = Math.max(temporary, pairs * (2 * spec.expertHidden + 2 * spec.width));
    }
  }
  return recompute
    ? { kept: input, loss: 0, full: saved + input, forward: saved + temporary, backward: temporary, host: 0 }
    : { kept: saved, loss: 0, full: saved, forward: temporary, backward: temporary, host: 0 };
}

/**
 * The loss at `depth` tokens ahead (1: the main one): rows with a target, collapse of the streams, norm, head input,
 * log-softmax and targets.
 */
export function eagerHead(model: Model, s: Scope, depth: number): Part {
  const targets = s.rows * Math.max(0, s.sequence - depth);
  const n = s.streams;
  const collapse = n === 1 ? 0 : targets * ((4 + s.activation) * n * s.hidden + 4 + 12 * n);
  const kept = targets * (2 * INDEX + s.activation * s.hidden) + collapse + norm(s, targets, s.hidden);
  const logits = 4 * targets * model.vocabulary;
  return {
    kept: kept + logits,
    loss: logits,
    full: kept + logits,
    forward: logits,
    backward: logits,
    host: 0,
  };
}

/** Joining state and embedding before a multi-token-prediction layer: token ids, both norms, the projections' inputs. */
export function eagerJoin(layer: Layer, s: Scope): Part {
  const apart = layer.body.weights.some(({ name }) => name === "h_proj.weight");
  const wide = apart ? s.streams : 1;
  const one = s.activation * s.tokens * s.hidden;
  // Where one projection takes both, the state passes the final norm first.
  const last = apart ? 0 : norm(s, s.tokens, s.hidden);
  const kept =
    INDEX * s.tokens +
    norm(s, s.tokens, s.hidden) +
    norm(s, s.tokens * wide, s.hidden) +
    last +
    one * (1 + wide);
  return { kept, loss: 0, full: kept, forward: one, backward: one * wide, host: 0 };
}

/** Rotary angles that all layers of a stage share. */
export function eagerAngles(model: Model, s: Scope): number {
  const spec = model.layers[0]?.body.sublayers[0]?.spec;
  if (spec?.kind === "grouped") return rotary(s.sequence, spec.headDim);
  if (spec?.kind === "latent") return rotary(s.sequence, spec.ropeDim);
  // Two bases, as pairs.
  if (spec?.kind === "compressed") return rotary(s.sequence, spec.ropeDim);
  return 0;
}
