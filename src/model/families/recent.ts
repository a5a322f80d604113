/** Families whose layers are built from parts of others: LFM2, Falcon-H1, Bamba, Mamba-2, OLMo hybrids, Ling hybrids, JetMoE. */
import {
  gatedDelta,
  grouped,
  hyperConnections,
  kimiDelta,
  latent,
  layerNorms,
  mamba2,
} from "../attention.ts";
import { dense, moe } from "../feedforward.ts";
import type { Fields } from "../fields.ts";
import type { LayerBody, Sublayer } from "../types.ts";
import { column, convolution, norm, row, vector } from "../weights.ts";
import { collapse, indexerOf, latentShape, moeLayers } from "./deepseek.ts";
import {
  around,
  body,
  expertCounts,
  type Family,
  heads,
  layersOf,
  POST_NORMS,
  routerGroups,
} from "./parts.ts";

/** LFM2's short convolution: two gates and a value from one projection, a few taps, no state beyond them. */
function shortConvolution(hidden: number, taps: number, bias: boolean): Sublayer {
  const m = "linearAttention" as const;
  return {
    role: "attention",
    spec: {
      kind: "linear",
      flavour: "mamba2",
      keyHeads: 1,
      valueHeads: hidden,
      keyDim: 0,
      valueDim: 1,
      convolution: taps,
      chunk: 1,
    },
    weights: [
      ...column("conv.in_proj", 3 * hidden, hidden, m, { bias, segments: [hidden, hidden, hidden] }),
      convolution("conv.conv.weight", hidden, taps, [hidden]),
      ...(bias ? [vector("conv.conv.bias", [hidden], m)] : []),
      ...row("conv.out_proj", hidden, hidden, m, { bias }),
    ],
  };
}

/** Configs of LFM2 may give the width before the two thirds of a gated block are taken from it. */
function convolvedWidth(c: Fields): number {
  const width = c.count("block_ff_dim", "intermediate_size");
  if (!c.flag(false, "block_auto_adjust_ff_dim")) return width;
  const factor = Number(c.record["block_ffn_dim_multiplier"] ?? 1);
  const unit = c.countOr(256, "block_multiple_of") || 1;
  return unit * Math.ceil(Math.floor(factor * Math.floor((2 * width) / 3)) / unit);
}

export const lfm2 =
  (third = false): Family =>
  (c) => {
    const hidden = c.count("hidden_size");
    const layers = c.count("num_hidden_layers");
    const h = heads(c, hidden);
    const types = c.strings("layer_types", layers);
    const full = types ? undefined : c.counts("full_attn_idxs");
    const convolved = shortConvolution(hidden, c.countOr(3, "conv_L_cache"), c.flag(false, "conv_bias"));
    const experts = c.countOr(0, "num_experts");
    const isMoe = experts > 0 ? moeLayers(c, layers) : () => false;
    const names = ["operator_norm", "ffn_norm"];
    if (third && c.flag(true, "use_sandwich_norm")) names.push("post_operator_norm", "post_ffn_norm");
    const layer = (index: number): LayerBody => {
      const type = types?.[index] ?? (full?.includes(index) ? "full_attention" : "conv");
      const sliding = type === "sliding_attention";
      const attention =
        type === "conv"
          ? convolved
          : grouped(hidden, h.query, h.keyValue, h.dim, {
              queryKeyNorm: "head",
              gate: third && c.flag(true, "use_attention_gate") ? "head" : "none",
              window: sliding ? c.count("sliding_window") : null,
            });
      const feed = isMoe(index)
        ? moe(hidden, experts, expertCounts(c).topK, c.count("moe_intermediate_size"), {
            prefix: "feed_forward.",
            ...(c.flag(true, "use_expert_bias") ? { correction: "expert_bias" } : {}),
          })
        : dense(hidden, convolvedWidth(c), { prefix: "feed_forward." });
      const kind = type === "conv" ? "conv" : sliding ? "window" : "full";
      return {
        kind: `${kind}+${feed.spec.kind}`,
        weights: layerNorms(hidden, ...names),
        sublayers: [attention, feed],
      };
    };
    return {
      ...around(c, hidden, { norm: "model.embedding_norm" }),
      layers: layersOf(layers, layer),
      mtp: [],
    };
  };

/** Mamba-2 as Falcon-H1 and Bamba write its fields. */
function mixer(c: Fields, hidden: number, scaled: boolean): Sublayer {
  const inner = c.countOr(c.countOr(2, "mamba_expand") * hidden, "mamba_d_ssm");
  const count = c.countOr(128, "mamba_n_heads");
  if (inner % count !== 0) {
    throw c.contradiction(
      `mamba_n_heads ${count} does not divide the ${inner} channels of the mixer`,
      `mamba_n_heads ${count} 不整除混合器的 ${inner} 個通道`,
      "mamba_n_heads",
    );
  }
  return mamba2(
    hidden,
    {
      heads: count,
      headDim: inner / count,
      groups: c.countOr(1, "mamba_n_groups"),
      state: c.countOr(256, "mamba_d_state"),
      width: c.countOr(4, "mamba_d_conv"),
      chunk: c.countOr(256, "mamba_chunk_size"),
    },
    {
      prefix: "mamba.",
      bias: c.flag(false, "mamba_proj_bias"),
      outBias: c.flag(false, "projectors_bias", "mamba_proj_bias"),
      convolutionBias: c.flag(true, "mamba_conv_bias"),
      scaled,
    },
  );
}

/** Falcon-H1: softmax attention and Mamba-2 side by side in every layer. */
export const falconH1: Family = (c) => {
  const hidden = c.count("hidden_size");
  const h = heads(c, hidden);
  const bias = c.flag(false, "attention_bias");
  const body: LayerBody = {
    kind: "full+mamba+dense",
    weights: layerNorms(hidden, "input_layernorm", "pre_ff_layernorm"),
    sublayers: [
      grouped(hidden, h.query, h.keyValue, h.dim, { bias, outBias: bias }),
      mixer(c, hidden, c.flag(false, "mamba_rms_norm")),
      dense(hidden, c.count("intermediate_size"), {
        prefix: "feed_forward.",
        bias: c.flag(false, "mlp_bias"),
      }),
    ],
  };
  return {
    ...around(c, hidden, { norm: "model.final_layernorm" }),
    layers: layersOf(c.count("num_hidden_layers"), () => body),
    mtp: [],
  };
};

/** Bamba: softmax attention in the listed layers, Mamba-2 in the others. */
export const bamba: Family = (c) => {
  const hidden = c.count("hidden_size");
  const h = heads(c, hidden);
  const bias = c.flag(false, "attention_bias");
  const listed = new Set(c.counts("attn_layer_indices") ?? []);
  const softmax = grouped(hidden, h.query, h.keyValue, h.dim, { bias, outBias: bias });
  const mamba = mixer(c, hidden, true);
  const feed = dense(hidden, c.count("intermediate_size"), {
    prefix: "feed_forward.",
    bias: c.flag(false, "mlp_bias"),
  });
  const layer = (index: number): LayerBody => ({
    kind: `${listed.has(index) ? "full" : "mamba"}+dense`,
    weights: layerNorms(hidden, "input_layernorm", "pre_ff_layernorm"),
    sublayers: [listed.has(index) ? softmax : mamba, feed],
  });
  return {
    ...around(c, hidden, { norm: "model.final_layernorm" }),
    layers: layersOf(c.count("num_hidden_layers"), layer),
    mtp: [],
  };
};

/** Mamba-2 alone: one branch a layer. */
export const mamba2Only: Family = (c) => {
  const hidden = c.count("hidden_size");
  const count = c.count("num_heads");
  const inner = c.countOr(2, "expand") * hidden;
  const branch = mamba2(
    hidden,
    {
      heads: count,
      headDim: c.countOr(inner / count, "head_dim"),
      groups: c.countOr(8, "n_groups"),
      state: c.countOr(128, "state_size"),
      width: c.countOr(4, "conv_kernel"),
      chunk: c.countOr(256, "chunk_size"),
    },
    { prefix: "mixer.", bias: c.flag(false, "use_bias"), convolutionBias: c.flag(true, "use_conv_bias") },
  );
  const layer: LayerBody = { kind: "mamba", weights: layerNorms(hidden, "norm"), sublayers: [branch] };
  return {
    ...around(c, hidden, { embedding: "backbone.embeddings.weight", norm: "backbone.norm_f" }),
    layers: layersOf(c.count("num_hidden_layers"), () => layer),
    mtp: [],
  };
};

/** OLMo with Gated DeltaNet before each softmax layer; norms stand before the one and after the other. */
export const olmoHybrid: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const h = heads(c, hidden);
  const types = c.strings("layer_types", layers);
  const linear = gatedDelta(hidden, {
    keyHeads: c.count("linear_num_key_heads"),
    valueHeads: c.count("linear_num_value_heads"),
    keyDim: c.count("linear_key_head_dim"),
    valueDim: c.count("linear_value_head_dim"),
    convolution: c.count("linear_conv_kernel_dim"),
  });
  const softmax = grouped(hidden, h.query, h.keyValue, h.dim, {
    queryKeyNorm: "full",
    bias: c.flag(false, "attention_bias"),
    outBias: c.flag(false, "attention_bias"),
  });
  const feed = dense(hidden, c.count("intermediate_size"));
  const layer = (index: number): LayerBody => {
    const isLinear = types ? types[index] === "linear_attention" : (index + 1) % 4 !== 0;
    return isLinear
      ? body(hidden, [linear, feed], "linear+dense")
      : { kind: "full+dense", weights: layerNorms(hidden, ...POST_NORMS), sublayers: [softmax, feed] };
  };
  return { ...around(c, hidden), layers: layersOf(layers, layer), mtp: [] };
};

/** Ling's hybrids: delta attention in most layers, latent attention with a gate per head in the others. */
export const bailingHybrid: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const types = c.strings("layer_types", layers);
  const every = c.countOr(6, "layer_group_size") || 1;
  const isMoe = moeLayers(c, layers);
  const { experts, topK } = expertCounts(c, "num_experts");
  const width = c.count("moe_intermediate_size");
  const shape = { ...latentShape(c), gated: true, indexer: null };
  const softmax = latent(hidden, shape, {
    bias: c.flag(false, "attention_bias"),
    extra: column("self_attn.g_proj", shape.heads, hidden, "attention", { units: shape.heads }),
  });
  const delta = kimiDelta(
    hidden,
    c.count("linear_num_heads"),
    c.count("linear_head_dim"),
    c.count("short_conv_kernel_size", "linear_conv_kernel_dim"),
    true,
    true,
  );
  const mixture = moe(hidden, experts, topK, width, {
    correction: "gate.e_score_correction_bias",
    groups: { count: c.countOr(1, "num_expert_group", "n_group"), chosen: c.countOr(1, "topk_group") },
    shared: { name: "shared_experts.", width: c.countOr(0, "num_shared_experts") * width },
  });
  const layer = (index: number): LayerBody => {
    const full = types ? types[index] === "full_attention" : (index + 1) % every === 0;
    const feed = isMoe(index) ? mixture : dense(hidden, c.count("intermediate_size"));
    return body(hidden, [full ? softmax : delta, feed], `${full ? "mla" : "kda"}+${feed.spec.kind}`);
  };
  return { ...around(c, hidden), layers: layersOf(layers, layer), mtp: [] };
};

/** Hunyuan 4: gated latent attention with sinks and an indexer, several residual streams that are read and written but not mixed. */
export const hunyuanV4: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const streams = c.countOr(4, "hc_mult") || 1;
  const kinds = c.strings("indexer_types", layers);
  const isMoe = moeLayers(c, layers);
  const { experts, topK } = expertCounts(c, "n_routed_experts");
  const width = c.count("moe_intermediate_size");
  const shape = { ...latentShape(c), gated: true };
  const units = { units: shape.heads };
  const mixture = moe(hidden, experts, topK, width, {
    correction: "gate.e_score_correction_bias",
    groups: routerGroups(c),
    shared: { name: "shared_experts.", width: c.countOr(1, "n_shared_experts") * width },
  });
  const layer = (index: number): LayerBody => {
    const owned = kinds?.[index] !== "shared";
    const attention = latent(
      hidden,
      { ...shape, indexer: indexerOf(c, 1, owned) },
      {
        bias: c.flag(false, "attention_bias"),
        extra: [
          vector("self_attn.sinks", [shape.heads], "attention", shape.heads),
          ...column("self_attn.gate_proj", shape.heads * shape.valueDim, hidden, "attention", units),
        ],
      },
    );
    const feed = isMoe(index) ? mixture : dense(hidden, c.count("intermediate_size"));
    const kind = `${owned ? "dsa" : "dsa-shared"}+${feed.spec.kind}`;
    return body(hidden, [attention, feed], kind, hyperConnections(hidden, streams, true));
  };
  return {
    ...around(c, hidden, { extra: collapse("model.hc_head.", hidden, streams) }),
    streams,
    layers: layersOf(layers, layer),
    mtp: [],
  };
};

/**
 * JetMoE: queries and outputs of attention belong to experts as well. Such a pair of matrices around the attention is an expert with
 * one input matrix, as wide as its queries, so it stands here as a mixture of its own beside the keys and values.
 */
export const jetMoe: Family = (c) => {
  const hidden = c.count("hidden_size");
  const { experts, topK } = expertCounts(c, "num_local_experts");
  const keyValue = c.count("num_key_value_heads");
  const dim = c.count("kv_channels");
  const attention: Sublayer = {
    role: "attention",
    spec: {
      kind: "grouped",
      heads: topK * keyValue,
      keyValueHeads: keyValue,
      headDim: dim,
      valueDim: dim,
      window: null,
      windowKind: "slide",
      gated: false,
      queryKeyNorm: false,
      indexer: null,
    },
    weights: column("self_attention.kv_proj", 2 * keyValue * dim, hidden, "attention", {
      segments: [keyValue * dim, keyValue * dim],
    }),
  };
  const bias = (name: string) => ({ extra: [vector(name, [hidden], "router")] });
  const layer: LayerBody = {
    kind: "full+moe+moe",
    weights: [norm("input_layernorm", hidden), norm("post_attention_layernorm", hidden)],
    sublayers: [
      attention,
      moe(hidden, experts, topK, keyValue * dim, {
        prefix: "self_attention.experts.",
        expertPrefix: "self_attention.experts.",
        router: "router.layer",
        gated: false,
        ...bias("self_attention.experts.bias"),
      }),
      moe(hidden, experts, topK, c.count("intermediate_size"), {
        router: "router.layer",
        ...bias("mlp.bias"),
      }),
    ],
  };
  return { ...around(c, hidden), layers: layersOf(c.count("num_hidden_layers"), () => layer), mtp: [] };
};
