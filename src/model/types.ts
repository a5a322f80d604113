/**
 * A model as the planner sees it: weights with their shapes and cuts, and what each sublayer computes.
 *
 * Trade-off: layers of one kind share one `LayerBody` object, so that whatever is derived from a body (bytes, FLOPs,
 * operators) is computed once per kind and cached by identity: DeepSeek-V4-Pro has 62 layers but five bodies.
 */

/** The unit of recomputation, of tables and of explanations. */
export type ModuleName =
  | "embedding"
  | "norm"
  | "attention"
  | "indexer"
  | "compressor"
  | "linearAttention"
  | "hyperConnection"
  | "mlp"
  | "router"
  | "experts"
  | "sharedExperts"
  | "latent"
  | "head"
  | "mtp";

/**
 * How a weight is cut when the layout asks for it.
 * - `replicated`: every tensor-parallel rank holds all of it;
 * - `tensor`: dimension `dim` is cut over tp;
 * - `expert`: dimension 0 counts experts and is cut over ep; `dim` (1 or 2) is cut over etp, null keeps it whole.
 *
 * `units`: the dimension is made of this many equal indivisible groups (heads); absent: every row may be cut off.
 * With fewer units than ranks, neighbours hold the same unit. `segments`: the dimension is a concatenation of parts
 * of these lengths (gate and up), each cut on its own.
 */
export type Cut =
  | { readonly kind: "replicated" }
  | {
      readonly kind: "tensor";
      readonly dim: number;
      readonly units?: number;
      readonly segments?: readonly number[];
    }
  | { readonly kind: "expert"; readonly dim: number | null; readonly segments?: readonly number[] };

/** What the forward pass does with a weight: decides the FLOPs. `convolution` is depthwise: one MAC an element and token. */
export type WeightUse = "linear" | "lookup" | "vector" | "convolution";

export type Weight = {
  /** Name as in the transformers class, relative to its layer (`self_attn.q_a_proj.weight`). */
  readonly name: string;
  readonly shape: readonly number[];
  readonly module: ModuleName;
  readonly cut: Cut;
  readonly use: WeightUse;
  /** False for buffers: saved with the model (router bias, hash tables) but never touched by the optimizer. */
  readonly trained: boolean;
  /** Counted as a parameter by the model's authors. Integer lookup tables are not. */
  readonly counted: boolean;
};

/** Scores every earlier position cheaply and keeps `topK` of them for the real attention. */
export type Indexer = {
  readonly heads: number;
  readonly headDim: number;
  /** Positions kept per query, in units of the indexed sequence (tokens, or compressed entries). */
  readonly topK: number;
  /** Tokens per indexed entry: 1 for DeepSeek-V3.2 and GLM-5, 4 for DeepSeek-V4, the block length for block-sparse models. */
  readonly ratio: number;
  /** False where a layer reuses the choice of an earlier layer (GLM-5.2): no weights, no scoring. */
  readonly owned: boolean;
};

/** Softmax attention with grouped key/value heads. */
export type GroupedAttention = {
  readonly kind: "grouped";
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
  /** Tokens a query sees at most (sliding window or chunk length); null sees all. */
  readonly window: number | null;
  /** `chunk`: blocks of `window` tokens that do not see each other (Llama 4); `slide`: the last `window` tokens. */
  readonly windowKind: "slide" | "chunk";
  readonly gated: boolean;
  readonly queryKeyNorm: boolean;
  readonly indexer: Indexer | null;
};

/** Multi-head latent attention of DeepSeek-V2 and later. */
export type LatentAttention = {
  readonly kind: "latent";
  readonly heads: number;
  /** null: queries come straight from the hidden state. */
  readonly queryRank: number | null;
  readonly keyValueRank: number;
  readonly nopeDim: number;
  readonly ropeDim: number;
  readonly valueDim: number;
  readonly gated: boolean;
  readonly indexer: Indexer | null;
};

/** DeepSeek-V4: one shared key/value head, a sliding window and, by ratio, a compressed memory of the past. */
export type CompressedAttention = {
  readonly kind: "compressed";
  readonly heads: number;
  readonly headDim: number;
  readonly ropeDim: number;
  readonly queryRank: number;
  readonly outputGroups: number;
  readonly outputRank: number;
  readonly window: number;
  /**
   * Tokens per compressed entry. 0: window only (SWA). With an indexer: compressed sparse attention (CSA, ratio 4,
   * overlapping pools); without: heavily compressed attention (HCA, ratio 128).
   */
  readonly ratio: number;
  readonly indexer: Indexer | null;
};

/** Attention with a recurrent state instead of a softmax. */
export type LinearAttention = {
  readonly kind: "linear";
  readonly flavour: "gatedDelta" | "kimiDelta" | "mamba2";
  readonly keyHeads: number;
  readonly valueHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly convolution: number;
  /** Tokens handled at once by the chunked kernels. */
  readonly chunk: number;
};

export type Attention = GroupedAttention | LatentAttention | CompressedAttention | LinearAttention;

export type DenseFeedForward = {
  readonly kind: "dense";
  readonly width: number;
  /** Two input projections (SwiGLU and its kin) rather than one. */
  readonly gated: boolean;
};

export type MoeFeedForward = {
  readonly kind: "moe";
  readonly experts: number;
  readonly topK: number;
  readonly width: number;
  readonly gated: boolean;
  /** Width of the experts' input and output: hidden, or the latent size of Nemotron-3 and Kimi-K3. */
  readonly expertHidden: number;
  /** Summed width of the shared experts; 0 without. */
  readonly sharedWidth: number;
  /** Choices of identity ("zero") experts beside the real ones (LongCat). */
  readonly zeroExperts: number;
  /** Experts are scored in groups and chosen inside the best ones (DeepSeek-V3); null: among all. */
  readonly groups: { readonly count: number; readonly chosen: number } | null;
  /** The layer looks the expert up by token id instead of scoring. */
  readonly hashRouted: boolean;
};

export type FeedForward = DenseFeedForward | MoeFeedForward;

/** One residual branch: normalise, compute, add. Its weights exclude the norm before it, which belongs to the layer body. */
export type Sublayer =
  | { readonly role: "attention"; readonly spec: Attention; readonly weights: readonly Weight[] }
  | { readonly role: "feedForward"; readonly spec: FeedForward; readonly weights: readonly Weight[] };

export type LayerBody = {
  /** Short label, equal for equal bodies: `csa+moe`, `mla+dense`. */
  readonly kind: string;
  /** Norms, hyper-connection maps and other weights of the layer itself. */
  readonly weights: readonly Weight[];
  readonly sublayers: readonly Sublayer[];
};

export type Layer = {
  readonly index: number;
  /** `model.layers.7.`; the weights' names follow it. */
  readonly prefix: string;
  readonly body: LayerBody;
};

/** Weights outside the layers, with their full names. */
export type Block = { readonly weights: readonly Weight[] };

/** Number format of the published checkpoint. */
export type StorageFormat = "float32" | "bfloat16" | "float16" | "fp8" | "mxfp8" | "fp4" | "int4";

export type Model = {
  readonly name: string;
  readonly modelType: string;
  readonly hidden: number;
  readonly vocabulary: number;
  readonly maxSequence: number;
  /** Parallel residual streams (DeepSeek-V4: 4). The tensor between layers is `streams * hidden` wide. */
  readonly streams: number;
  /** Rounds of normalising the mixing matrix of the streams; 0 without streams. */
  readonly mixingRounds: number;
  /** Input embedding and output head are one tensor. */
  readonly tied: boolean;
  readonly embedding: Block;
  readonly layers: readonly Layer[];
  /** Multi-token-prediction modules, each a whole layer with its own projections. */
  readonly mtp: readonly Layer[];
  /** Final norm (and stream collapse) and output projection. */
  readonly head: Block;
  readonly storage: { readonly dense: StorageFormat; readonly experts: StorageFormat };
  /** Parts of the config that are outside the language model and are not planned (vision, audio towers). */
  readonly ignored: readonly string[];
};
