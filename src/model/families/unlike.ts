/** Families with parts that no other has: Falcon, Jamba, Granite's hybrids, MiMo-V2 and MiniMax-M1. */
import { grouped, layerNorms, mamba2 } from "../attention.ts";
import { dense, moe } from "../feedforward.ts";
import type { Fields } from "../fields.ts";
import type { LayerBody, Sublayer } from "../types.ts";
import { column, convolution, norm, row, vector } from "../weights.ts";
import { moeLayers } from "./deepseek.ts";
import { around, body, EXPERT_COUNTS, expertCounts, type Family, heads, layersOf } from "./parts.ts";

/** One or a few shared key/value heads in a joined projection; branches side by side. */
export const falcon: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const query = c.count("num_attention_heads");
  const renewed = c.flag(false, "new_decoder_architecture");
  const keyValue = renewed ? c.countOr(query, "num_kv_heads") : c.flag(true, "multi_query") ? 1 : query;
  const bias = c.flag(false, "bias");
  const attention = grouped(hidden, query, keyValue, hidden / query, {
    prefix: "self_attention.",
    fused: true,
    bias,
    outBias: bias,
  });
  const mlp = dense(hidden, c.countOr(4 * hidden, "ffn_hidden_size"), { gated: false, bias });
  const two = renewed ? c.countOr(2, "num_ln_in_parallel_attn") === 2 : !c.flag(true, "parallel_attn");
  const names = two ? ["ln_attn", "ln_mlp"] : ["input_layernorm"];
  const layer = (): LayerBody => ({
    kind: "full+dense",
    weights: names.flatMap((name) => [norm(name, hidden), vector(`${name}.bias`, [hidden], "norm")]),
    sublayers: [attention, mlp],
  });
  const outer = around(c, hidden, {
    norm: "transformer.ln_f",
    embedding: "transformer.word_embeddings.weight",
  });
  const head = { weights: [...outer.head.weights, vector("transformer.ln_f.bias", [hidden], "norm")] };
  return { ...outer, head, layers: layersOf(layers, layer), mtp: [] };
};

/** Mamba-1: state per channel, step sizes through a low rank. */
function mamba1(c: Fields, hidden: number): Sublayer {
  const p = "mamba.";
  const inner = c.countOr(2, "mamba_expand") * hidden;
  const state = c.countOr(16, "mamba_d_state");
  const rank = c.countOr(Math.ceil(hidden / 16), "mamba_dt_rank");
  const width = c.countOr(4, "mamba_d_conv");
  const bias = c.flag(false, "mamba_proj_bias");
  const m = "linearAttention" as const;
  const weights = [
    ...column(`${p}in_proj`, 2 * inner, hidden, m, { bias, segments: [inner, inner] }),
    convolution(`${p}conv1d.weight`, inner, width, [inner]),
    ...(c.flag(true, "mamba_conv_bias") ? [vector(`${p}conv1d.bias`, [inner], m)] : []),
    ...row(`${p}x_proj`, rank + 2 * state, inner, m),
    ...column(`${p}dt_proj`, inner, rank, m, { bias: true }),
    vector(`${p}A_log`, [inner, state], m),
    vector(`${p}D`, [inner], m),
    ...row(`${p}out_proj`, hidden, inner, m, { bias }),
    vector(`${p}dt_layernorm.weight`, [rank], m),
    vector(`${p}b_layernorm.weight`, [state], m),
    vector(`${p}c_layernorm.weight`, [state], m),
  ];
  return {
    role: "attention",
    spec: {
      kind: "linear",
      flavour: "mamba2",
      keyHeads: 1,
      valueHeads: inner,
      keyDim: state,
      valueDim: 1,
      convolution: width,
      chunk: 64,
    },
    weights,
  };
}

export const jamba: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const h = heads(c, hidden);
  const { experts, topK } = expertCounts(c);
  const [every, offset] = [c.countOr(8, "attn_layer_period"), c.countOr(4, "attn_layer_offset")];
  const [sparseEvery, sparseOffset] = [
    c.countOr(2, "expert_layer_period"),
    c.countOr(1, "expert_layer_offset"),
  ];
  const width = c.count("intermediate_size");
  const attention = grouped(hidden, h.query, h.keyValue, h.dim);
  const mamba = mamba1(c, hidden);
  const mixture = moe(hidden, experts, topK, width, { prefix: "feed_forward.", router: "router" });
  const plain = dense(hidden, width, { prefix: "feed_forward." });
  const layer = (index: number): LayerBody => {
    const softmax = index % every === offset;
    const sparse = experts > 1 && index % sparseEvery === sparseOffset;
    return {
      kind: `${softmax ? "full" : "mamba"}+${sparse ? "moe" : "dense"}`,
      weights: layerNorms(hidden, "input_layernorm", "pre_ff_layernorm"),
      sublayers: [softmax ? attention : mamba, sparse ? mixture : plain],
    };
  };
  return {
    ...around(c, hidden, { norm: "model.final_layernorm" }),
    layers: layersOf(layers, layer),
    mtp: [],
  };
};

/** Granite 4: Mamba-2 in most layers, a mixture with a shared branch, or the shared branch alone. */
export const granitemoehybrid: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const h = heads(c, hidden);
  const types = c.strings("layer_types", layers) ?? c.strings("layers_block_type", layers);
  const bias = c.flag(false, "attention_bias");
  const attention = grouped(hidden, h.query, h.keyValue, h.dim, { bias, outBias: bias });
  const count = c.countOr(128, "mamba_n_heads");
  const written = c.record["mamba_d_head"];
  const mamba = mamba2(
    hidden,
    {
      heads: count,
      headDim: typeof written === "number" ? written : (c.countOr(2, "mamba_expand") * hidden) / count,
      groups: c.countOr(1, "mamba_n_groups"),
      state: c.countOr(256, "mamba_d_state"),
      width: c.countOr(4, "mamba_d_conv"),
      chunk: c.countOr(256, "mamba_chunk_size"),
    },
    {
      prefix: "mamba.",
      bias: c.flag(false, "mamba_proj_bias"),
      convolutionBias: c.flag(true, "mamba_conv_bias"),
    },
  );
  const shared = c.countOr(0, "shared_intermediate_size");
  const experts = c.countOr(0, ...EXPERT_COUNTS);
  const feed =
    experts > 0
      ? moe(hidden, experts, expertCounts(c).topK, c.count("intermediate_size"), {
          prefix: "block_sparse_moe.",
          router: "router",
          ...(shared > 0 ? { shared: { name: "shared_mlp.", width: shared, fused: true } } : {}),
        })
      : dense(hidden, shared, { prefix: "shared_mlp.", fused: true });
  const isMamba = (index: number) =>
    !/attention/.test(types?.[index] ?? "mamba") || /linear/.test(types?.[index] ?? "");
  const layer = (index: number): LayerBody =>
    body(hidden, [isMamba(index) ? mamba : attention, feed], isMamba(index) ? "mamba+moe" : "full+moe");
  return { ...around(c, hidden), layers: layersOf(layers, layer), mtp: [] };
};

/** MiMo-V2: windowed layers have their own key/value heads and sinks; values are narrower than keys. */
export const mimoV2: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const h = heads(c, hidden);
  const types = c.strings("layer_types", layers);
  const flags = c.counts("hybrid_layer_pattern", layers);
  const { experts, topK } = expertCounts(c);
  const isMoe = moeLayers(c, layers);
  const mixture = moe(hidden, experts, topK, c.count("moe_intermediate_size"), {
    correction: "gate.e_score_correction_bias",
  });
  const bias = c.flag(false, "attention_bias");
  const layer = (index: number): LayerBody => {
    const sliding = types ? types[index] === "sliding_attention" : flags?.[index] === 1;
    const own = c.sub("per_layer_config")?.sub(String(index).padStart(2, "0"));
    const keyValue = own?.has("num_key_value_heads")
      ? own.count("num_key_value_heads")
      : sliding
        ? c.countOr(2 * h.keyValue, "swa_num_key_value_heads")
        : h.keyValue;
    const attention = grouped(hidden, h.query, keyValue, sliding ? c.countOr(h.dim, "swa_head_dim") : h.dim, {
      valueDim: c.countOr(h.dim, ...(sliding ? ["swa_v_head_dim", "v_head_dim"] : ["v_head_dim"])),
      bias,
      sinks: sliding && c.flag(true, "add_swa_attention_sink_bias"),
      window: sliding ? c.count("sliding_window") : null,
    });
    const feed = isMoe(index) ? mixture : dense(hidden, c.count("intermediate_size"));
    return body(hidden, [attention, feed], `${sliding ? "window" : "full"}+${feed.spec.kind}`);
  };
  return { ...around(c, hidden), layers: layersOf(layers, layer), mtp: [] };
};

/** MiniMax-M1: lightning attention, a decayed sum of key-value products, between softmax layers. */
export const minimaxM1: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const h = heads(c, hidden);
  const types = c.strings("layer_types", layers);
  const flags = c.counts("attn_type_list", layers);
  const { experts, topK } = expertCounts(c);
  const all = h.query * h.dim;
  const m = "linearAttention" as const;
  const units = { units: h.query };
  const softmax = grouped(hidden, h.query, h.keyValue, h.dim);
  const lightning: Sublayer = {
    role: "attention",
    spec: {
      kind: "linear",
      flavour: "mamba2",
      keyHeads: h.query,
      valueHeads: h.query,
      keyDim: h.dim,
      valueDim: h.dim,
      convolution: 1,
      chunk: c.countOr(256, "block_size"),
    },
    weights: [
      vector("self_attn.norm.weight", [all], m, h.query),
      ...column("self_attn.qkv_proj", 3 * all, hidden, m, { segments: [all, all, all] }),
      ...row("self_attn.out_proj", hidden, all, m, units),
      ...column("self_attn.output_gate", all, hidden, m, units),
    ],
  };
  const mixture = moe(hidden, experts, topK, c.count("intermediate_size"));
  const layer = (index: number): LayerBody => {
    const linear = types ? types[index] === "linear_attention" : flags ? flags[index] === 0 : index % 2 === 1;
    return body(hidden, [linear ? lightning : softmax, mixture], `${linear ? "linear" : "full"}+moe`);
  };
  return { ...around(c, hidden), layers: layersOf(layers, layer), mtp: [] };
};
