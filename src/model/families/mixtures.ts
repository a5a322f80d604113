/** Mixtures with grouped attention: Mixtral, Qwen2/3-MoE, GLM-4.5, MiniMax, gpt-oss, Llama 4, Step. */
import { blockIndexer, grouped, type GroupedOptions } from "../attention.ts";
import { dense, moe, type MoeOptions } from "../feedforward.ts";
import type { LayerBody, Sublayer } from "../types.ts";
import { moeLayers } from "./deepseek.ts";
import { windowOf } from "./dense.ts";
import {
  around,
  body,
  expertCounts,
  type Family,
  heads,
  layersOf,
  mtpCount,
  mtpLayers,
  routerGroups,
} from "./parts.ts";

export const mixtral: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const h = heads(c, hidden);
  const { experts, topK } = expertCounts(c, "num_local_experts");
  const window = c.has("sliding_window") ? c.count("sliding_window") : null;
  const layer = body(
    hidden,
    [
      grouped(hidden, h.query, h.keyValue, h.dim, { window }),
      moe(hidden, experts, topK, c.count("intermediate_size")),
    ],
    "full+moe",
  );
  return { ...around(c, hidden), layers: layersOf(layers, () => layer), mtp: [] };
};

/** Qwen2-MoE has a gated shared expert and q/k/v bias, Qwen3-MoE neither but a norm on queries and keys. */
export const qwenMoe =
  (generation: 2 | 3): Family =>
  (c) => {
    const hidden = c.count("hidden_size");
    const layers = c.count("num_hidden_layers");
    const h = heads(c, hidden);
    const { experts, topK } = expertCounts(c, "num_experts");
    const width = c.count("moe_intermediate_size");
    const sharedWidth = generation === 2 ? c.count("shared_expert_intermediate_size") : 0;
    const only = new Set(c.counts("mlp_only_layers") ?? []);
    const step = c.countOr(1, "decoder_sparse_step") || 1;
    const window = windowOf(c, layers);
    const layer = (index: number): LayerBody => {
      const attention = grouped(hidden, h.query, h.keyValue, h.dim, {
        bias: generation === 2 ? c.flag(true, "qkv_bias") : c.flag(false, "attention_bias", "qkv_bias"),
        outBias: generation === 3 && c.flag(false, "attention_bias"),
        queryKeyNorm: generation === 3 ? "head" : "none",
        window: window(index),
      });
      if (only.has(index) || (index + 1) % step !== 0) {
        return body(hidden, [attention, dense(hidden, c.count("intermediate_size"))], "full+dense");
      }
      const shared =
        sharedWidth > 0
          ? { shared: { name: "shared_expert.", width: sharedWidth, gate: "shared_expert_gate" } }
          : {};
      return body(hidden, [attention, moe(hidden, experts, topK, width, shared)], "full+moe");
    };
    return { ...around(c, hidden), layers: layersOf(layers, layer), mtp: [] };
  };

export const glm4Moe: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const h = heads(c, hidden);
  const { experts, topK } = expertCounts(c, "n_routed_experts");
  const width = c.count("moe_intermediate_size");
  const isMoe = moeLayers(c, layers);
  const attention = grouped(hidden, h.query, h.keyValue, h.dim, {
    bias: c.flag(false, "attention_bias"),
    queryKeyNorm: c.flag(false, "use_qk_norm") ? "head" : "none",
  });
  const mixture = moe(hidden, experts, topK, width, {
    correction: "gate.e_score_correction_bias",
    groups: routerGroups(c),
    shared: { name: "shared_experts.", width: c.countOr(1, "n_shared_experts") * width },
  });
  const sparse = body(hidden, [attention, mixture], "full+moe");
  const plain = () => body(hidden, [attention, dense(hidden, c.count("intermediate_size"))], "full+dense");
  return {
    ...around(c, hidden),
    layers: layersOf(layers, (index) => (isMoe(index) ? sparse : plain())),
    mtp: mtpLayers(mtpCount(c), layers, hidden, sparse),
  };
};

type PlainMoe = {
  readonly queryKeyNorm?: "head" | "full";
  /** A gate per head on the attention output. */
  readonly gate?: boolean;
  readonly correction?: string;
  readonly groups?: boolean;
  /** Fields that give the width of an expert, first found. */
  readonly width?: readonly string[];
};

/** Mixtures of the usual shape: OLMoE, Hunyuan 3, Solar, Laguna, ERNIE 4.5. */
export const plainMoe =
  (traits: PlainMoe): Family =>
  (c) => {
    const hidden = c.count("hidden_size");
    const layers = c.count("num_hidden_layers");
    const h = heads(c, hidden);
    const { experts, topK } = expertCounts(c, "n_routed_experts", "num_experts", "moe_num_experts");
    const width = c.count(...(traits.width ?? ["moe_intermediate_size"]));
    const sharedCount = c.countOr(0, "n_shared_experts", "num_shared_experts", "moe_num_shared_experts");
    const sharedWidth = c.countOr(sharedCount * width, "shared_expert_intermediate_size");
    const isMoe = moeLayers(c, layers);
    const window = windowOf(c, layers);
    const perLayer = c.counts("num_attention_heads_per_layer", layers);
    const bias = c.flag(false, "attention_bias", "use_bias");
    const mixture = moe(hidden, experts, topK, width, {
      ...(traits.correction ? { correction: traits.correction } : {}),
      ...(traits.groups ? { groups: routerGroups(c) } : {}),
      ...(sharedWidth > 0 ? { shared: { name: "shared_experts.", width: sharedWidth } } : {}),
    });
    const layer = (index: number): LayerBody => {
      const attention = grouped(hidden, perLayer?.[index] ?? h.query, h.keyValue, h.dim, {
        queryKeyNorm: traits.queryKeyNorm ?? "none",
        gate: traits.gate ? "head" : "none",
        bias,
        outBias: bias,
        window: window(index),
      });
      const feed = isMoe(index) ? mixture : dense(hidden, c.count("intermediate_size"));
      return body(
        hidden,
        [attention, feed],
        `${window(index) === null ? "full" : "window"}+${feed.spec.kind}`,
      );
    };
    return { ...around(c, hidden), layers: layersOf(layers, layer), mtp: [] };
  };

export const minimaxM2: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const h = heads(c, hidden);
  const { experts, topK } = expertCounts(c, "num_local_experts");
  const layer = body(
    hidden,
    [
      grouped(hidden, h.query, h.keyValue, h.dim, {
        queryKeyNorm: c.flag(true, "use_qk_norm") ? "full" : "none",
      }),
      moe(hidden, experts, topK, c.count("intermediate_size"), { correction: "e_score_correction_bias" }),
    ],
    "full+moe",
  );
  return {
    ...around(c, hidden),
    layers: layersOf(layers, () => layer),
    mtp: mtpLayers(mtpCount(c), layers, hidden, layer),
  };
};

export const minimaxM3: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const h = heads(c, hidden);
  const { experts, topK } = expertCounts(c, "num_local_experts");
  const isMoe = moeLayers(c, layers);
  const sparse = c.sub("sparse_attention_config");
  const flags = sparse?.counts("sparse_attention_freq", layers);
  // transformers' class has one shared branch and no count of it.
  const sharedCount = c.countOr(c.has("shared_intermediate_size") ? 1 : 0, "n_shared_experts");
  const layer = (index: number, mixture = isMoe(index)): LayerBody => {
    const options: GroupedOptions = { queryKeyNorm: c.flag(true, "use_qk_norm") ? "head" : "none" };
    const indexed = sparse !== undefined && (flags?.[index] ?? 1) === 1;
    const attention = grouped(
      hidden,
      h.query,
      h.keyValue,
      h.dim,
      indexed
        ? {
            ...options,
            extra: blockIndexer(
              hidden,
              sparse.count("sparse_num_index_heads"),
              sparse.count("sparse_index_dim"),
            ),
            indexer: {
              heads: sparse.count("sparse_num_index_heads"),
              headDim: sparse.count("sparse_index_dim"),
              topK: sparse.count("sparse_topk_blocks") * sparse.count("sparse_block_size"),
              ratio: 1,
              owned: true,
            },
          }
        : options,
    );
    if (!mixture) {
      const width = c.count("dense_intermediate_size", "intermediate_size");
      return body(hidden, [attention, dense(hidden, width, { fused: true })], "full+dense");
    }
    const feed = moe(hidden, experts, topK, c.count("moe_intermediate_size", "intermediate_size"), {
      correction: "gate.e_score_correction_bias",
      ...(sharedCount > 0
        ? {
            shared: {
              name: "shared_experts.",
              width: sharedCount * c.count("shared_intermediate_size", "moe_intermediate_size"),
              fused: true,
            },
          }
        : {}),
    });
    return body(hidden, [attention, feed], indexed ? "block-sparse+moe" : "full+moe");
  };
  return {
    ...around(c, hidden),
    layers: layersOf(layers, layer),
    mtp: mtpLayers(mtpCount(c), layers, hidden, layer(layers - 1, true)),
  };
};

export const gptOss: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const h = heads(c, hidden);
  const { experts, topK } = expertCounts(c, "num_local_experts");
  const types = c.strings("layer_types", layers);
  const bias = c.flag(true, "attention_bias");
  const layer = (index: number): LayerBody => {
    const sliding = types ? types[index] === "sliding_attention" : index % 2 === 0;
    const attention = grouped(hidden, h.query, h.keyValue, h.dim, {
      bias,
      outBias: bias,
      sinks: true,
      window: sliding ? c.count("sliding_window") : null,
    });
    const feed = moe(hidden, experts, topK, c.count("intermediate_size"), {
      transposed: true,
      expertBias: true,
      router: "router",
      routerBias: true,
    });
    return body(hidden, [attention, feed], sliding ? "window+moe" : "full+moe");
  };
  return { ...around(c, hidden), layers: layersOf(layers, layer), mtp: [] };
};

/** Every fourth layer sees the whole past; the others see chunks of it. */
export const llama4: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const h = heads(c, hidden);
  const { experts, topK } = expertCounts(c, "num_local_experts");
  const step = c.countOr(1, "interleave_moe_layer_step") || 1;
  const listed = c.counts("moe_layers");
  const rope = c.counts("no_rope_layers", layers);
  const chunk = c.has("attention_chunk_size") ? c.count("attention_chunk_size") : null;
  const width = c.count("intermediate_size");
  const layer = (index: number): LayerBody => {
    const local = rope && rope.length > 0 ? rope[index] === 1 : (index + 1) % 4 !== 0;
    const bias = c.flag(false, "attention_bias");
    const attention = grouped(hidden, h.query, h.keyValue, h.dim, {
      bias,
      outBias: bias,
      window: local ? chunk : null,
      windowKind: "chunk",
    });
    const sparse = listed ? listed.includes(index) : (index + 1) % step === 0;
    const prefix = "feed_forward.";
    const shared: MoeOptions = {
      prefix,
      transposed: true,
      router: "router",
      shared: { name: "shared_expert.", width },
    };
    const feed: Sublayer = sparse
      ? moe(hidden, experts, topK, width, shared)
      : dense(hidden, c.count("intermediate_size_mlp"), { prefix });
    return body(hidden, [attention, feed], `${local ? "chunk" : "full"}+${sparse ? "moe" : "dense"}`);
  };
  return { ...around(c, hidden), layers: layersOf(layers, layer), mtp: [] };
};

export const step3: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const h = heads(c, hidden);
  const { experts, topK } = expertCounts(c, "n_routed_experts", "num_experts", "moe_num_experts");
  const width = c.count("moe_intermediate_size");
  const types = c.strings("layer_types", layers);
  const kinds = c.strings("mlp_layer_types", layers);
  const dense3 = c.countOr(3, "first_k_dense_replace");
  const slidingHeads =
    c.sub("attention_other_setting")?.count("num_attention_heads") ??
    c.countOr(h.query, "num_sliding_attention_heads");
  const layer = (index: number, sparse = kinds ? kinds[index] === "sparse" : index >= dense3): LayerBody => {
    const sliding = types?.[index] === "sliding_attention";
    const attention = grouped(hidden, sliding ? slidingHeads : h.query, h.keyValue, h.dim, {
      queryKeyNorm: "head",
      gate: "head",
      window: sliding ? c.count("sliding_window") : null,
    });
    const feed = sparse
      ? moe(hidden, experts, topK, width, {
          ...(c.flag(false, "use_moe_router_bias") ? { correction: "gate.e_score_correction_bias" } : {}),
          shared: { name: "shared_experts.", width: c.count("share_expert_dim") },
        })
      : dense(hidden, c.count("intermediate_size"));
    return body(hidden, [attention, feed], `${sliding ? "window" : "full"}+${sparse ? "moe" : "dense"}`);
  };
  return {
    ...around(c, hidden),
    layers: layersOf(layers, layer),
    // The published modules have dense feed-forward blocks.
    mtp: mtpLayers(mtpCount(c), layers, hidden, layer(layers - 1, false)),
  };
};
