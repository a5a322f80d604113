/** Weights of the attention kinds, named as in transformers. */
import type {
  CompressedAttention,
  GroupedAttention,
  Indexer,
  LatentAttention,
  LinearAttention,
  Sublayer,
  Weight,
} from "./types.ts";
import { column, convolution, matrix, norm, row, vector, whole } from "./weights.ts";

export type GroupedOptions = Partial<
  Pick<GroupedAttention, "window" | "windowKind" | "indexer" | "valueDim"> & {
    /** Bias on q, k, v; on the output projection. */
    bias: boolean;
    outBias: boolean;
    /** Norm over each head, over all heads together, or none. */
    queryKeyNorm: "head" | "full" | "none";
    /** Gate folded into q_proj (twice the rows), a separate projection per head, or none. */
    gate: "none" | "query" | "head";
    sinks: boolean;
    /** q, k and v in one tensor, `qkv_proj`. */
    fused: boolean;
    /** Values are the keys: no v_proj. */
    sharedValue: boolean;
    extra: readonly Weight[];
    prefix: string;
  }
>;

export function grouped(
  hidden: number,
  heads: number,
  keyValueHeads: number,
  headDim: number,
  o: GroupedOptions = {},
): Sublayer {
  const valueDim = o.valueDim ?? headDim;
  const p = o.prefix ?? "self_attn.";
  const bias = o.bias ?? false;
  const gate = o.gate ?? "none";
  const normKind = o.queryKeyNorm ?? "none";
  const queryRows = heads * headDim * (gate === "query" ? 2 : 1);
  const parts = [queryRows, keyValueHeads * headDim, keyValueHeads * valueDim] as const;
  const inputs = o.fused
    ? column(`${p}qkv_proj`, parts[0] + parts[1] + parts[2], hidden, "attention", { bias, segments: parts })
    : [
        ...column(`${p}q_proj`, parts[0], hidden, "attention", { bias, units: heads }),
        ...column(`${p}k_proj`, parts[1], hidden, "attention", { bias, units: keyValueHeads }),
        ...(o.sharedValue
          ? []
          : column(`${p}v_proj`, parts[2], hidden, "attention", { bias, units: keyValueHeads })),
      ];
  const weights: Weight[] = [
    ...inputs,
    ...row(`${p}o_proj`, hidden, heads * valueDim, "attention", { bias: o.outBias ?? false, units: heads }),
  ];
  if (normKind !== "none") {
    const wide = normKind === "full";
    weights.push(
      vector(`${p}q_norm.weight`, [wide ? heads * headDim : headDim], "attention", wide ? heads : undefined),
      vector(
        `${p}k_norm.weight`,
        [wide ? keyValueHeads * headDim : headDim],
        "attention",
        wide ? keyValueHeads : undefined,
      ),
    );
  }
  if (gate === "head") weights.push(...column(`${p}g_proj`, heads, hidden, "attention", { units: heads }));
  if (o.sinks) weights.push(vector(`${p}sinks`, [heads], "attention", heads));
  weights.push(...(o.extra ?? []));
  const spec: GroupedAttention = {
    kind: "grouped",
    heads,
    keyValueHeads,
    headDim,
    valueDim,
    window: o.window ?? null,
    windowKind: o.windowKind ?? "slide",
    gated: gate !== "none",
    queryKeyNorm: normKind !== "none",
    indexer: o.indexer ?? null,
  };
  return { role: "attention", spec, weights };
}

/** DeepSeek-V3.2's lightning indexer, as GLM-5 uses it too. */
function latentIndexer(p: string, hidden: number, queryRank: number, indexer: Indexer): Weight[] {
  if (!indexer.owned) return [];
  const { heads, headDim } = indexer;
  return [
    ...whole(`${p}indexer.wq_b`, heads * headDim, queryRank, "indexer"),
    ...whole(`${p}indexer.wk`, headDim, hidden, "indexer"),
    vector(`${p}indexer.k_norm.weight`, [headDim], "indexer"),
    vector(`${p}indexer.k_norm.bias`, [headDim], "indexer"),
    ...whole(`${p}indexer.weights_proj`, heads, hidden, "indexer"),
  ];
}

export function latent(
  hidden: number,
  spec: Omit<LatentAttention, "kind">,
  o: { prefix?: string; bias?: boolean; extra?: readonly Weight[] } = {},
): Sublayer {
  const p = o.prefix ?? "self_attn.";
  const { heads, queryRank, keyValueRank: r } = spec;
  const queryKey = spec.nopeDim + spec.ropeDim;
  const units = { units: heads };
  const query =
    queryRank === null
      ? column(`${p}q_proj`, heads * queryKey, hidden, "attention", units)
      : [
          ...whole(`${p}q_a_proj`, queryRank, hidden, "attention", o.bias),
          vector(`${p}q_a_layernorm.weight`, [queryRank], "attention"),
          ...column(`${p}q_b_proj`, heads * queryKey, queryRank, "attention", units),
        ];
  const weights = [
    ...query,
    ...whole(`${p}kv_a_proj_with_mqa`, r + spec.ropeDim, hidden, "attention", o.bias),
    vector(`${p}kv_a_layernorm.weight`, [r], "attention"),
    ...column(`${p}kv_b_proj`, heads * (spec.nopeDim + spec.valueDim), r, "attention", units),
    ...row(`${p}o_proj`, hidden, heads * spec.valueDim, "attention", { bias: o.bias ?? false, ...units }),
    ...(spec.indexer && queryRank !== null ? latentIndexer(p, hidden, queryRank, spec.indexer) : []),
    ...(o.extra ?? []),
  ];
  return { role: "attention", spec: { kind: "latent", ...spec }, weights };
}

/** Pools `ratio` tokens into one entry; where neighbouring pools overlap, the projections are twice as wide. */
function compressor(
  p: string,
  hidden: number,
  dim: number,
  ratio: number,
  overlap: boolean,
  module: "compressor" | "indexer",
): Weight[] {
  const width = dim * (overlap ? 2 : 1);
  return [
    vector(`${p}position_bias`, [ratio, width], module),
    ...whole(`${p}kv_proj`, width, hidden, module),
    ...whole(`${p}gate_proj`, width, hidden, module),
    vector(`${p}kv_norm.weight`, [dim], module),
  ];
}

export function compressed(hidden: number, spec: Omit<CompressedAttention, "kind">): Sublayer {
  const p = "self_attn.";
  const { heads, headDim, queryRank, outputGroups, outputRank, ratio, indexer } = spec;
  const weights = [
    vector(`${p}sinks`, [heads], "attention", heads),
    ...whole(`${p}q_a_proj`, queryRank, hidden, "attention"),
    vector(`${p}q_a_norm.weight`, [queryRank], "attention"),
    ...column(`${p}q_b_proj`, heads * headDim, queryRank, "attention", { units: heads }),
    ...whole(`${p}kv_proj`, headDim, hidden, "attention"),
    vector(`${p}kv_norm.weight`, [headDim], "attention"),
    ...column(`${p}o_a_proj`, outputGroups * outputRank, (heads * headDim) / outputGroups, "attention", {
      units: outputGroups,
    }),
    ...row(`${p}o_b_proj`, hidden, outputGroups * outputRank, "attention", { units: outputGroups }),
  ];
  if (ratio > 0)
    weights.push(...compressor(`${p}compressor.`, hidden, headDim, ratio, indexer !== null, "compressor"));
  if (ratio > 0 && indexer) {
    const q = `${p}compressor.indexer.`;
    weights.push(
      ...compressor(q, hidden, indexer.headDim, ratio, true, "indexer"),
      ...whole(`${q}q_b_proj`, indexer.heads * indexer.headDim, queryRank, "indexer"),
      ...whole(`${q}scorer.weights_proj`, indexer.heads, hidden, "indexer"),
    );
  }
  return { role: "attention", spec: { kind: "compressed", ...spec }, weights };
}

type LinearShape = Omit<LinearAttention, "kind" | "flavour" | "chunk"> & { chunk?: number };

/** Gated DeltaNet of Qwen3.5; Qwen3-Next has its input projections `joined` into two. */
export function gatedDelta(hidden: number, s: LinearShape, joined = false): Sublayer {
  const p = "linear_attn.";
  const keys = s.keyHeads * s.keyDim;
  const values = s.valueHeads * s.valueDim;
  const qkv = 2 * keys + values;
  const parts = [keys, keys, values];
  const m = "linearAttention" as const;
  const weights = [
    vector(`${p}dt_bias`, [s.valueHeads], m, s.valueHeads),
    vector(`${p}A_log`, [s.valueHeads], m, s.valueHeads),
    convolution(`${p}conv1d.weight`, qkv, s.convolution, parts),
    vector(`${p}norm.weight`, [s.valueDim], m),
    ...row(`${p}out_proj`, hidden, values, m, { units: s.valueHeads }),
    ...(joined
      ? [
          // Interleaved by key head, so that any cut by key heads is a cut of all four parts.
          ...column(`${p}in_proj_qkvz`, qkv + values, hidden, m, { units: s.keyHeads }),
          ...column(`${p}in_proj_ba`, 2 * s.valueHeads, hidden, m, { units: s.keyHeads }),
        ]
      : [
          ...column(`${p}in_proj_qkv`, qkv, hidden, m, { segments: parts }),
          ...column(`${p}in_proj_z`, values, hidden, m, { units: s.valueHeads }),
          ...column(`${p}in_proj_b`, s.valueHeads, hidden, m, { units: s.valueHeads }),
          ...column(`${p}in_proj_a`, s.valueHeads, hidden, m, { units: s.valueHeads }),
        ]),
  ];
  return { role: "attention", spec: { kind: "linear", flavour: "gatedDelta", chunk: 64, ...s }, weights };
}

/** Kimi Delta Attention: decay per channel. `fullRank…`: that gate (of the output, of the decay) is one matrix instead of two thin ones. */
export function kimiDelta(
  hidden: number,
  heads: number,
  dim: number,
  width: number,
  fullRankGate: boolean,
  fullRankForget = false,
): Sublayer {
  const p = "self_attn.";
  const all = heads * dim;
  const m = "linearAttention" as const;
  const units = { units: heads };
  const weights = [
    ...column(`${p}q_proj`, all, hidden, m, units),
    ...column(`${p}k_proj`, all, hidden, m, units),
    ...column(`${p}v_proj`, all, hidden, m, units),
    convolution(`${p}conv1d.weight`, 3 * all, width, [all, all, all]),
    ...(fullRankForget
      ? column(`${p}forget_gate.f_proj`, all, hidden, m, units)
      : [
          ...whole(`${p}forget_gate.f_a_proj`, dim, hidden, m),
          ...column(`${p}forget_gate.f_b_proj`, all, dim, m, units),
        ]),
    vector(`${p}forget_gate.dt_bias`, [all], m, heads),
    vector(`${p}forget_gate.A_log`, [1, 1, heads, 1], m),
    ...column(`${p}b_proj`, heads, hidden, m, units),
    ...(fullRankGate
      ? column(`${p}g_proj`, all, hidden, m, units)
      : [...whole(`${p}g_a_proj`, dim, hidden, m), ...column(`${p}g_b_proj`, all, dim, m, units)]),
    vector(`${p}o_norm.weight`, [dim], m),
    ...row(`${p}o_proj`, hidden, all, m, units),
  ];
  return {
    role: "attention",
    spec: {
      kind: "linear",
      flavour: "kimiDelta",
      keyHeads: heads,
      valueHeads: heads,
      keyDim: dim,
      valueDim: dim,
      convolution: width,
      chunk: 64,
    },
    weights,
  };
}

/** Mamba-2 mixer: `groups` key/query groups of `state`, `heads` of `headDim` channels. */
export function mamba2(
  hidden: number,
  s: { heads: number; headDim: number; groups: number; state: number; width: number; chunk: number },
  o: {
    prefix: string;
    bias: boolean;
    convolutionBias: boolean;
    /** Bias of the output projection where it differs. */
    outBias?: boolean;
    /** Norm before the output projection; true when absent. */
    scaled?: boolean;
  },
): Sublayer {
  const p = o.prefix;
  const inner = s.heads * s.headDim;
  const group = s.groups * s.state;
  const channels = inner + 2 * group;
  const m = "linearAttention" as const;
  const parts = [inner, group, group];
  const weights = [
    vector(`${p}dt_bias`, [s.heads], m, s.heads),
    vector(`${p}A_log`, [s.heads], m, s.heads),
    vector(`${p}D`, [s.heads], m, s.heads),
    convolution(`${p}conv1d.weight`, channels, s.width, parts),
    ...(o.convolutionBias ? [vector(`${p}conv1d.bias`, [channels], m)] : []),
    ...column(`${p}in_proj`, inner + channels + s.heads, hidden, m, {
      bias: o.bias,
      segments: [inner, ...parts, s.heads],
    }),
    ...((o.scaled ?? true) ? [vector(`${p}norm.weight`, [inner], m, s.heads)] : []),
    ...row(`${p}out_proj`, hidden, inner, m, { bias: o.outBias ?? o.bias, units: s.heads }),
  ];
  return {
    role: "attention",
    spec: {
      kind: "linear",
      flavour: "mamba2",
      keyHeads: s.groups,
      valueHeads: s.heads,
      keyDim: s.state,
      valueDim: s.headDim,
      convolution: s.width,
      chunk: s.chunk,
    },
    weights,
  };
}

/** Block-sparse choice of MiniMax-M3: keys are scored in blocks by a few small heads. */
export function blockIndexer(hidden: number, heads: number, dim: number): Weight[] {
  const p = "self_attn.indexer.";
  return [
    ...whole(`${p}q_proj`, heads * dim, hidden, "indexer"),
    ...whole(`${p}k_proj`, dim, hidden, "indexer"),
    vector(`${p}q_norm.weight`, [dim], "indexer"),
    vector(`${p}k_norm.weight`, [dim], "indexer"),
  ];
}

/**
 * Hyper-connection maps around both branches of a layer: (2 + n) * n mixing values from the n * hidden wide stream. `plain`: streams
 * are only read and written, not mixed with each other (2 * n values).
 */
export function hyperConnections(hidden: number, streams: number, plain = false): Weight[] {
  if (streams === 1) return [];
  const values = (plain ? 2 : 2 + streams) * streams;
  return ["attn_hc", "ffn_hc"].flatMap((name) => [
    matrix(`${name}.fn`, [values, streams * hidden], "hyperConnection"),
    vector(`${name}.base`, [values], "hyperConnection"),
    vector(`${name}.scale`, [plain ? 2 : 3], "hyperConnection"),
  ]);
}

export const layerNorms = (hidden: number, ...names: string[]): Weight[] =>
  names.map((name) => norm(name, hidden));
