/** Latent-attention models (DeepSeek-V2/V3/V3.2, Kimi-K2, GLM-5, LongCat) and DeepSeek-V4. */
import { compressed, hyperConnections, latent, layerNorms } from "../attention.ts";
import { dense, moe } from "../feedforward.ts";
import type { Fields } from "../fields.ts";
import type { Indexer, LatentAttention, LayerBody, Weight } from "../types.ts";
import { matrix, vector } from "../weights.ts";
import {
  around,
  body,
  expertCounts,
  type Family,
  layersOf,
  mtpCount,
  mtpLayers,
  routerGroups,
} from "./parts.ts";

export function latentShape(c: Fields): Omit<LatentAttention, "kind" | "indexer"> {
  return {
    heads: c.count("num_attention_heads"),
    queryRank: c.has("q_lora_rank") ? c.count("q_lora_rank") : null,
    keyValueRank: c.count("kv_lora_rank"),
    nopeDim: c.count("qk_nope_head_dim"),
    ropeDim: c.count("qk_rope_head_dim"),
    valueDim: c.count("v_head_dim"),
    gated: false,
  };
}

export function indexerOf(c: Fields, ratio: number, owned: boolean): Indexer {
  return {
    heads: c.count("index_n_heads"),
    headDim: c.count("index_head_dim"),
    topK: c.count("index_topk"),
    ratio,
    owned,
  };
}

/** Which layers are mixtures: a list of types or flags, or every `moe_layer_freq`-th after the dense ones. */
export function moeLayers(c: Fields, layers: number): (index: number) => boolean {
  const types = c.strings("mlp_layer_types", layers);
  if (types?.some((type) => !/dense|sparse|moe/.test(type))) {
    throw c.invalid("mlp_layer_types", "dense or sparse", "dense 或 sparse");
  }
  if (types) return (index) => types[index] !== "dense";
  const only = new Set(c.counts("mlp_only_layers") ?? []);
  const flags = Array.isArray(c.record["moe_layer_freq"]) ? c.counts("moe_layer_freq", layers) : undefined;
  if (flags) return (index) => flags[index] === 1;
  const first = c.countOr(0, "first_k_dense_replace", "moe_layer_start_index", "num_dense_layers");
  const every = c.countOr(1, "moe_layer_freq", "moe_layer_interval") || 1;
  return (index) => index >= first && index % every === 0 && !only.has(index);
}

/** `indexed`: the sparse attention of V3.2 and GLM-5. `corrected`: routers carry a balancing bias. */
export const deepseek =
  (options: { indexed: boolean; corrected: boolean }): Family =>
  (c) => {
    const hidden = c.count("hidden_size");
    const layers = c.count("num_hidden_layers");
    const isMoe = moeLayers(c, layers);
    const shape = latentShape(c);
    const bias = c.flag(false, "attention_bias");
    const kinds = c.strings("indexer_types", layers);
    const sharedCount = c.countOr(0, "n_shared_experts");
    const layer = (index: number, sparse = isMoe(index)): LayerBody => {
      const indexer = options.indexed ? indexerOf(c, 1, kinds?.[index] !== "shared") : null;
      const attention = latent(hidden, { ...shape, indexer }, { bias });
      if (!sparse) return body(hidden, [attention, dense(hidden, c.count("intermediate_size"))], "mla+dense");
      const { experts, topK } = expertCounts(c, "n_routed_experts", "num_experts");
      const width = c.count("moe_intermediate_size");
      const mixture = moe(hidden, experts, topK, width, {
        groups: routerGroups(c),
        ...(options.corrected ? { correction: "gate.e_score_correction_bias" } : {}),
        ...(sharedCount > 0 ? { shared: { name: "shared_experts.", width: sharedCount * width } } : {}),
      });
      const label = indexer ? (indexer.owned ? "dsa" : "dsa-shared") : "mla";
      return body(hidden, [attention, mixture], `${label}+moe`);
    };
    const count = mtpCount(c);
    return {
      ...around(c, hidden),
      layers: layersOf(layers, layer),
      mtp: count === 0 ? [] : mtpLayers(count, layers, hidden, layer(layers, true)),
    };
  };

/** Two latent attentions and two dense blocks a layer, with one mixture beside them. */
export const longcat: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.has("num_layers") ? c.count("num_layers") : c.count("num_hidden_layers") / 2;
  const { experts, topK } = expertCounts(c, "n_routed_experts");
  const shape = { ...latentShape(c), indexer: null };
  const mixture = moe(hidden, experts, topK, c.count("expert_ffn_hidden_size", "moe_intermediate_size"), {
    router: "router.classifier",
    routerBias: c.flag(false, "router_bias"),
    correction: "router.e_score_correction_bias",
    zeroExperts: c.countOr(0, "zero_expert_num"),
  });
  const halves = [0, 1].flatMap((half) => [
    latent(hidden, shape, { prefix: `self_attn.${half}.` }),
    dense(hidden, c.count("ffn_hidden_size", "intermediate_size"), { prefix: `mlps.${half}.` }),
  ]);
  const names = [
    "input_layernorm.0",
    "input_layernorm.1",
    "post_attention_layernorm.0",
    "post_attention_layernorm.1",
  ];
  const layer = (): LayerBody => ({
    kind: "2mla+2dense+moe",
    weights: layerNorms(hidden, ...names),
    sublayers: [...halves, mixture],
  });
  return { ...around(c, hidden), layers: layersOf(layers, layer), mtp: [] };
};

const TYPE_RATIO: Readonly<Record<string, string>> = {
  sliding_attention: "sliding",
  compressed_sparse_attention: "csa",
  heavily_compressed_attention: "hca",
};

/** Per layer: kind and tokens per compressed entry. Published configs give ratios, transformers writes types. */
function compression(c: Fields, layers: number): (index: number) => { kind: string; ratio: number } {
  const rates = c.sub("compress_rates");
  const csa = rates?.countOr(4, "compressed_sparse_attention") ?? c.countOr(4, "compress_rate_csa");
  const hca = rates?.countOr(128, "heavily_compressed_attention") ?? c.countOr(128, "compress_rate_hca");
  const ratioOf = (kind: string) => (kind === "csa" ? csa : kind === "hca" ? hca : 0);
  const types = c.strings("layer_types", layers);
  if (types) {
    return (index) => {
      const name = types[index] ?? "sliding_attention";
      const kind = TYPE_RATIO[name];
      if (kind === undefined) {
        const known = Object.keys(TYPE_RATIO).join(", ");
        throw c.invalid("layer_types", known, known);
      }
      return { kind, ratio: ratioOf(kind) };
    };
  }
  const ratios = c.counts("compress_ratios", layers);
  if (ratios) {
    return (index) => {
      const ratio = ratios[index] ?? 0;
      // Some configs write 1 where nothing is compressed.
      const kind = ratio <= 1 ? "sliding" : ratio === csa ? "csa" : ratio === hca ? "hca" : undefined;
      if (kind === undefined)
        throw c.invalid("compress_ratios", `0, ${csa} or ${hca}`, `0、${csa} 或 ${hca}`);
      return { kind, ratio: ratioOf(kind) };
    };
  }
  const kindAt = (index: number) =>
    index >= layers ? "sliding" : index < 2 || index % 2 === 0 ? "hca" : "csa";
  return (index) => ({ kind: kindAt(index), ratio: ratioOf(kindAt(index)) });
}

function hashLayers(c: Fields, layers: number): (index: number) => boolean {
  const types = c.strings("mlp_layer_types", layers);
  if (types) return (index) => types[index] === "hash_moe";
  const count = c.countOr(3, "num_hash_layers");
  return (index) => index < count;
}

/** Collapse of the residual streams into one before the norm. */
export const collapse = (prefix: string, hidden: number, streams: number): Weight[] =>
  streams === 1
    ? []
    : [
        matrix(`${prefix}hc_fn`, [streams, streams * hidden], "hyperConnection"),
        vector(`${prefix}hc_base`, [streams], "hyperConnection"),
        vector(`${prefix}hc_scale`, [1], "hyperConnection"),
      ];

export const deepseekV4: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const vocabulary = c.count("vocab_size");
  const streams = c.countOr(4, "hc_mult") || 1;
  const { experts, topK } = expertCounts(c, "n_routed_experts");
  const width = c.count("moe_intermediate_size");
  const headDim = c.count("head_dim");
  const queryHeads = c.count("num_attention_heads");
  const groups = c.count("o_groups");
  if (queryHeads % groups !== 0) {
    throw c.contradiction(
      `o_groups ${groups} does not divide num_attention_heads ${queryHeads}`,
      `o_groups ${groups} 不整除 num_attention_heads ${queryHeads}`,
      "o_groups",
    );
  }
  const at = compression(c, layers);
  const isHash = hashLayers(c, layers);
  const layer = (index: number): LayerBody => {
    const { kind, ratio } = index < layers ? at(index) : { kind: "sliding", ratio: 0 };
    const attention = compressed(hidden, {
      heads: queryHeads,
      headDim,
      ropeDim: c.countOr(64, "qk_rope_head_dim"),
      queryRank: c.count("q_lora_rank"),
      outputGroups: groups,
      outputRank: c.count("o_lora_rank"),
      window: c.countOr(128, "sliding_window"),
      ratio,
      indexer: kind === "csa" ? indexerOf(c, ratio, true) : null,
    });
    const hash = index < layers && isHash(index);
    const mixture = moe(hidden, experts, topK, width, {
      shared: { name: "shared_experts.", width: c.countOr(1, "n_shared_experts") * width },
      ...(hash
        ? { hash: { name: "gate.tid2eid", vocabulary } }
        : { correction: "gate.e_score_correction_bias" }),
    });
    return body(
      hidden,
      [attention, mixture],
      `${kind}+${hash ? "hash" : ""}moe`,
      hyperConnections(hidden, streams),
    );
  };
  const main = layersOf(layers, layer);
  const count = mtpCount(c);
  return {
    ...around(c, hidden, { extra: collapse("model.hc_head.", hidden, streams) }),
    streams,
    mixingRounds: streams === 1 ? 0 : c.countOr(20, "hc_sinkhorn_iters"),
    layers: main,
    mtp:
      count === 0
        ? []
        : mtpLayers(count, layers, hidden, layer(layers), {
            apart: true,
            extra: collapse("hc_head.", hidden, streams),
          }),
  };
};
