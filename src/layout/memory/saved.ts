/**
 * Tensors that Megatron-Core with Transformer Engine keeps for backward, layer by layer.
 *
 * Conventions: fused (flash) attention, RMSNorm, fused SwiGLU that keeps its input, no dropout. A linear layer keeps its
 * input; a norm keeps input and (as the next layer's input) output; attention keeps q, k, v, its output and fp32
 * log-sum-exp. Checked against 19 measured configurations, see `bench/layout/memory.ts`.
 */
import type {
  CompressedAttention,
  GroupedAttention,
  LatentAttention,
  LayerBody,
  LinearAttention,
  MoeFeedForward,
  Sublayer,
} from "../../model/index.ts";
import type { Layout } from "../layout.ts";
import { unitShare } from "./shards.ts";
import type { Saved } from "./parts.ts";

/** Sizes of one micro-batch on one rank. */
export type Scope = {
  readonly hidden: number;
  readonly streams: number;
  readonly mixingRounds: number;
  /** Sequences of a micro-batch, and tokens of each on this cp rank. */
  readonly rows: number;
  readonly sequence: number;
  /** Tokens of a rank before tp: sequence * micro-batch / cp. */
  readonly tokens: number;
  /** Tokens of a rank where the sequence is cut over tp too. */
  readonly sharded: number;
  readonly tp: number;
  readonly etp: number;
  readonly cp: number;
  readonly contextParallel: Layout["contextParallel"];
  /** Bytes of an activation element; of one sent to an expert. */
  readonly activation: number;
  readonly dispatch: number;
  /** Bytes of an input element that a product keeps, and an expert's: as many as it multiplies where the stack keeps its casts. */
  readonly input: number;
  readonly expertInput: number;
  /** (token, expert) pairs that this rank's experts compute for each (token, choice) pair it sends: 1 when balanced. */
  readonly load: number;
  readonly capacityFactor: number | null;
};

/** Pairs of token and expert that a rank's experts compute in one micro-batch, padding included. */
export function routedTokens(spec: MoeFeedForward, scope: Scope): number {
  const choices = (spec.topK * spec.experts) / (spec.experts + spec.zeroExperts);
  const pairs = scope.sharded * choices;
  if (scope.capacityFactor === null) return pairs * scope.load;
  return Math.ceil((pairs / spec.experts) * scope.capacityFactor) * spec.experts;
}

/** What recomputing flash attention saves: its log-sum-exp only, for the output is the next product's input. */
const CORE = ["coreAttention", "attention"] as const;
const UP = ["upProjection", "attention"] as const;
const ATTENTION = ["attention"] as const;
const MLP = ["mlp"] as const;
const INTO_CORE = { module: "attention", input: "coreAttention" } as const;

/**
 * Norm before a branch: its input (the residual) and its output. Latent attention and mixtures have a norm of their own, which the
 * stack can run again by itself; elsewhere it is fused into the product that follows, and only goes with the whole branch.
 */
function branchNorm(scope: Scope, { spec }: Sublayer): Saved[] {
  const one = scope.sharded * scope.hidden * scope.activation;
  const alone = standsAlone(spec.kind);
  const regions = alone ? (["norm"] as const) : spec.kind === "dense" ? MLP : ATTENTION;
  // A norm that is fused into the product hands over its cast; another's output goes to several readers.
  const output = alone ? one : (one * scope.input) / scope.activation;
  return [
    { module: "norm", bytes: one + 4 * scope.sharded, regions: [] },
    { module: "norm", bytes: output, regions },
  ];
}

/** Branches whose norm is a kernel of its own in Megatron's Transformer Engine layers. */
export const standsAlone = (kind: Sublayer["spec"]["kind"]): boolean =>
  kind === "latent" || kind === "compressed" || kind === "moe";

/** Output of flash attention with its log-sum-exp (fp32, one a head and token); a projection that casts it keeps its own copy. */
const coreOutput = (s: Scope, output: number, logSumExp: number): Saved[] => [
  { module: "attention", bytes: output, regions: s.input < s.activation ? CORE : ATTENTION },
  { module: "attention", bytes: logSumExp, regions: CORE },
  ...(s.input < s.activation
    ? [{ module: "attention" as const, bytes: (output * s.input) / s.activation, regions: ATTENTION }]
    : []),
];

/** Hyper-connections keep all streams before each branch, and the branch's output for mixing. */
function hyperConnection(scope: Scope): Saved[] {
  if (scope.streams === 1) return [];
  const one = scope.sharded * scope.hidden * scope.activation;
  return [
    { module: "hyperConnection", bytes: scope.streams * one, regions: [] },
    { module: "hyperConnection", bytes: one, regions: ["hyperConnection"] },
  ];
}

/** Ulysses keeps the attention output on both sides of its exchange. */
const exchanged = (scope: Scope, output: number): Saved[] =>
  scope.cp > 1 && scope.contextParallel === "ulysses"
    ? [{ module: "attention", bytes: output, regions: CORE }]
    : [];

function grouped(spec: GroupedAttention, s: Scope): Saved[] {
  const a = s.activation * s.tokens;
  const keyValue = spec.keyValueHeads * unitShare(spec.keyValueHeads, s.tp);
  const query = spec.heads / s.tp;
  const output = a * query * spec.valueDim;
  return [
    { ...INTO_CORE, bytes: a * (query + keyValue) * spec.headDim, regions: ATTENTION },
    { ...INTO_CORE, bytes: a * keyValue * spec.valueDim, regions: ATTENTION },
    ...coreOutput(s, output, 4 * s.tokens * query),
    ...(spec.queryKeyNorm
      ? [{ module: "attention" as const, bytes: a * (query + keyValue) * spec.headDim, regions: ATTENTION }]
      : []),
    ...(spec.gated ? [{ module: "attention" as const, bytes: 2 * output, regions: ATTENTION }] : []),
    ...exchanged(s, output),
    ...(spec.indexer?.owned ? indexer(spec.indexer, s) : []),
  ];
}

function indexer(spec: { heads: number; headDim: number; topK: number }, s: Scope): Saved[] {
  const a = s.activation * s.tokens;
  return [
    {
      module: "indexer",
      bytes: a * (spec.heads * spec.headDim + spec.headDim + spec.heads),
      regions: ATTENTION,
    },
    { module: "indexer", bytes: 4 * s.tokens * spec.topK, regions: ATTENTION },
  ];
}

function latent(spec: LatentAttention, s: Scope): Saved[] {
  const a = s.activation * s.tokens;
  const heads = spec.heads / s.tp;
  const queryKey = spec.nopeDim + spec.ropeDim;
  const output = a * heads * spec.valueDim;
  const low = spec.keyValueRank + (spec.queryRank ?? 0);
  return [
    // Low-rank queries and keys before and after their norms.
    { module: "attention", bytes: (a + s.input * s.tokens) * low, regions: ATTENTION },
    { ...INTO_CORE, bytes: 2 * a * heads * queryKey, regions: UP },
    { ...INTO_CORE, bytes: a * heads * spec.valueDim, regions: UP },
    ...coreOutput(s, output, 4 * s.tokens * heads),
    ...(spec.gated ? [{ module: "attention" as const, bytes: 2 * output, regions: ATTENTION }] : []),
    ...exchanged(s, output),
    ...(spec.indexer?.owned ? indexer(spec.indexer, s) : []),
  ];
}

function compressed(spec: CompressedAttention, s: Scope): Saved[] {
  const a = s.activation * s.tokens;
  const heads = spec.heads / s.tp;
  const dim = spec.headDim;
  const pooled = spec.ratio === 0 ? 0 : (spec.indexer ? 2 : 1) * dim;
  return [
    { module: "attention", bytes: 2 * a * spec.queryRank, regions: ATTENTION },
    { ...INTO_CORE, bytes: a * heads * dim, regions: UP },
    // The one key/value head before and after its norm.
    { ...INTO_CORE, bytes: 2 * a * dim, regions: UP },
    ...coreOutput(s, a * heads * dim, 4 * s.tokens * heads),
    { module: "attention", bytes: (a * spec.outputGroups * spec.outputRank) / s.tp, regions: ATTENTION },
    ...(spec.ratio === 0
      ? []
      : [
          // Values and gates of the pools in fp32, and the pooled entries.
          { module: "compressor" as const, bytes: s.tokens * 8 * pooled, regions: ATTENTION },
          { module: "compressor" as const, bytes: (2 * a * dim) / spec.ratio, regions: ATTENTION },
        ]),
    ...(spec.indexer
      ? [
          ...indexer(spec.indexer, s),
          { module: "indexer" as const, bytes: s.tokens * 16 * spec.indexer.headDim, regions: ATTENTION },
        ]
      : []),
  ];
}

function linear(spec: LinearAttention, s: Scope): Saved[] {
  const a = s.activation * s.tokens;
  const keys = spec.keyHeads * spec.keyDim * unitShare(spec.keyHeads, s.tp);
  const values = (spec.valueHeads * spec.valueDim) / s.tp;
  const channels = 2 * keys + values;
  const heads = spec.valueHeads / s.tp;
  // One state a chunk, in fp32; decays per head, or per channel for Kimi's.
  const states = (4 * heads * spec.keyDim * spec.valueDim) / spec.chunk;
  const decay = 4 * heads * (spec.flavour === "kimiDelta" ? spec.keyDim : 1);
  return [
    { module: "linearAttention", bytes: 2 * a * channels, regions: ATTENTION },
    { module: "linearAttention", bytes: s.tokens * (states + 2 * decay), regions: CORE },
    // Output before and after its gated norm, and the gate.
    { module: "linearAttention", bytes: 3 * a * values, regions: ATTENTION },
  ];
}

function dense(width: number, gated: boolean, s: Scope): Saved[] {
  const one = (s.activation * s.tokens * width) / s.tp;
  return [
    { module: "mlp", bytes: one * (gated ? 2 : 1), regions: MLP },
    { module: "mlp", bytes: (one * s.input) / s.activation, regions: MLP },
  ];
}

function mixture(spec: MoeFeedForward, s: Scope): Saved[] {
  const pairs = routedTokens(spec, s);
  const one = (pairs * spec.width * s.activation) / s.etp;
  const shared = (s.activation * s.tokens * spec.sharedWidth) / s.tp;
  const isLatent = spec.expertHidden !== s.hidden;
  return [
    // Row map of the fused permutation: int32, 2 * experts + 1 a token.
    { module: "router", bytes: s.sharded * 4 * (2 * spec.experts + 1), regions: ["moe"] },
    {
      module: "experts",
      bytes: pairs * spec.expertHidden * Math.min(s.dispatch, s.expertInput),
      regions: ["moe"],
    },
    { module: "experts", bytes: one * (spec.gated ? 2 : 1), regions: ["moe"], input: "moeActivation" },
    {
      module: "experts",
      bytes: (one * s.expertInput) / s.activation,
      regions: ["moe", "moeActivation"],
    },
    ...(shared > 0
      ? [
          {
            module: "sharedExperts" as const,
            bytes: shared * (spec.gated ? 2 : 1),
            regions: ["moe", "sharedExperts"] as const,
          },
          {
            module: "sharedExperts" as const,
            bytes: (shared * s.input) / s.activation,
            regions: ["moe", "sharedExperts"] as const,
          },
        ]
      : []),
    // A latent mixture keeps the combined latent output for the projection back.
    ...(isLatent
      ? [
          {
            module: "latent" as const,
            bytes: s.sharded * spec.expertHidden * s.activation,
            regions: ["moe"] as const,
          },
        ]
      : []),
  ];
}

export function sublayerSaved(sublayer: Sublayer, scope: Scope): Saved[] {
  const { spec } = sublayer;
  switch (spec.kind) {
    case "grouped":
      return grouped(spec, scope);
    case "latent":
      return latent(spec, scope);
    case "compressed":
      return compressed(spec, scope);
    case "linear":
      return linear(spec, scope);
    case "dense":
      return dense(spec.width, spec.gated, scope);
    case "moe":
      return mixture(spec, scope);
  }
}

export function layerSaved(body: LayerBody, scope: Scope): Saved[] {
  return body.sublayers.flatMap((sublayer) => [
    ...hyperConnection(scope),
    ...branchNorm(scope, sublayer),
    ...sublayerSaved(sublayer, scope),
  ]);
}
