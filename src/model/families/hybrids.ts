/** Models that mix softmax attention with recurrent layers or parallel branches: Qwen3.5, Nemotron-H, Kimi, Gemma 4. */
import { gatedDelta, grouped, kimiDelta, latent, layerNorms, mamba2 } from "../attention.ts";
import { dense, moe, routerScales } from "../feedforward.ts";
import type { Fields } from "../fields.ts";
import type { LayerBody, Sublayer } from "../types.ts";
import { buffer, lookup, norm, vector, whole } from "../weights.ts";
import { latentShape, moeLayers } from "./deepseek.ts";
import { around, body, expertCounts, type Family, heads, layersOf, mtpCount, mtpLayers } from "./parts.ts";

/** Qwen3-Next and Qwen3.5/3.6: three Gated DeltaNet layers, then one gated softmax attention. */
export const qwenHybrid =
  (mixture: boolean, joined = false): Family =>
  (c) => {
    const hidden = c.count("hidden_size");
    const layers = c.count("num_hidden_layers");
    const h = heads(c, hidden);
    const types = c.strings("layer_types", layers);
    const every = c.countOr(4, "full_attention_interval") || 4;
    const shape = {
      keyHeads: c.count("linear_num_key_heads"),
      valueHeads: c.count("linear_num_value_heads"),
      keyDim: c.count("linear_key_head_dim"),
      valueDim: c.count("linear_value_head_dim"),
      convolution: c.count("linear_conv_kernel_dim"),
    };
    const linear = gatedDelta(hidden, shape, joined);
    const full = grouped(hidden, h.query, h.keyValue, h.dim, {
      queryKeyNorm: "head",
      gate: c.flag(true, "attn_output_gate") ? "query" : "none",
      bias: c.flag(false, "attention_bias"),
    });
    const feed = mixture ? hybridMoe(c, hidden) : dense(hidden, c.count("intermediate_size"));
    const label = mixture ? "moe" : "dense";
    const layer = (index: number): LayerBody => {
      const isLinear = types ? types[index] === "linear_attention" : (index + 1) % every !== 0;
      return body(hidden, [isLinear ? linear : full, feed], `${isLinear ? "linear" : "full"}+${label}`);
    };
    return {
      ...around(c, hidden),
      layers: layersOf(layers, layer),
      mtp: mtpLayers(mtpCount(c), layers, hidden, body(hidden, [full, feed], `full+${label}`)),
    };
  };

function hybridMoe(c: Fields, hidden: number): Sublayer {
  const { experts, topK } = expertCounts(c, "num_experts");
  return moe(hidden, experts, topK, c.count("moe_intermediate_size"), {
    shared: {
      name: "shared_expert.",
      width: c.count("shared_expert_intermediate_size"),
      gate: "shared_expert_gate",
    },
  });
}

const LETTERS: Readonly<Record<string, string>> = { M: "mamba", "*": "attention", "-": "mlp", E: "moe" };

function pattern(c: Fields, listed: string, letters: string): readonly string[] | undefined {
  const list = c.strings(listed);
  if (list)
    return list.map((name) => ({ linear_attention: "mamba", full_attention: "attention" })[name] ?? name);
  const text = c.text(letters);
  if (text === undefined) return undefined;
  return [...text].map((letter) => {
    const kind = LETTERS[letter];
    if (kind === undefined)
      throw c.invalid(
        letters,
        `a string of ${Object.keys(LETTERS).join(" ")}`,
        `由 ${Object.keys(LETTERS).join(" ")} 組成的字串`,
      );
    return kind;
  });
}

/** Nemotron-H and Nemotron-3: every layer is one branch, by a pattern of letters or a list. */
export const nemotronH: Family = (c) => {
  const hidden = c.count("hidden_size");
  const kinds = pattern(c, "layers_block_type", "hybrid_override_pattern");
  if (!kinds) throw c.missing("hybrid_override_pattern");
  if (c.has("num_hidden_layers") && c.count("num_hidden_layers") !== kinds.length) {
    throw c.contradiction(
      `num_hidden_layers ${c.count("num_hidden_layers")}, but the pattern has ${kinds.length} layers`,
      `num_hidden_layers 為 ${c.count("num_hidden_layers")}，但樣式有 ${kinds.length} 層`,
      "num_hidden_layers",
    );
  }
  const layer = (kind: string): LayerBody => ({
    kind,
    weights: layerNorms(hidden, "norm"),
    sublayers: [nemotronBranch(c, hidden, kind)],
  });
  const count = mtpCount(c);
  const mtpKinds = pattern(c, "mtp_layers_block_type", "mtp_hybrid_override_pattern") ?? ["attention", "moe"];
  const joined = (): LayerBody => {
    const branches = mtpKinds.map(layer);
    return {
      kind: mtpKinds.join("+"),
      weights: branches.flatMap((b, i) => b.weights.map((w) => ({ ...w, name: `${i}.${w.name}` }))),
      sublayers: branches.flatMap((b, i) =>
        b.sublayers.map((s) => ({ ...s, weights: s.weights.map((w) => ({ ...w, name: `${i}.${w.name}` })) })),
      ),
    };
  };
  return {
    ...around(c, hidden, { embedding: "model.embeddings.weight", norm: "model.norm_f" }),
    layers: layersOf(kinds.length, (index) => layer(kinds[index] as string)),
    mtp: count === 0 ? [] : mtpLayers(count, kinds.length, hidden, joined()),
  };
};

function nemotronBranch(c: Fields, hidden: number, kind: string): Sublayer {
  const prefix = "mixer.";
  if (kind === "mamba") {
    return mamba2(
      hidden,
      {
        heads: c.count("mamba_num_heads"),
        headDim: c.count("mamba_head_dim"),
        groups: c.count("n_groups", "mamba_n_groups"),
        state: c.count("ssm_state_size"),
        width: c.count("conv_kernel", "mamba_d_conv"),
        chunk: c.countOr(128, "chunk_size"),
      },
      { prefix, bias: c.flag(false, "use_bias"), convolutionBias: c.flag(true, "use_conv_bias") },
    );
  }
  if (kind === "attention") {
    const query = c.count("num_attention_heads");
    const dim = c.count("head_dim", "attention_head_dim");
    const bias = c.flag(false, "attention_bias");
    return grouped(hidden, query, c.countOr(query, "num_key_value_heads"), dim, {
      prefix,
      bias,
      outBias: bias,
    });
  }
  if (kind === "mlp") {
    return dense(hidden, c.count("intermediate_size"), {
      prefix,
      gated: false,
      bias: c.flag(false, "mlp_bias"),
    });
  }
  if (kind !== "moe")
    throw c.invalid("layers_block_type", "mamba, attention, mlp or moe", "mamba、attention、mlp 或 moe");
  const { experts, topK } = expertCounts(c, "n_routed_experts");
  const latentSize = c.countOr(0, "moe_latent_size");
  return moe(hidden, experts, topK, c.count("moe_intermediate_size"), {
    prefix,
    gated: false,
    correction: "gate.e_score_correction_bias",
    shared: {
      name: "shared_experts.",
      width: c.count("moe_shared_expert_intermediate_size", "moe_intermediate_size"),
    },
    ...(latentSize > 0
      ? { latent: { size: latentSize, into: "fc1_latent_proj", out: "fc2_latent_proj" } }
      : {}),
  });
}

/** Kimi-Linear and Kimi-K3: delta attention in most layers, latent attention in the listed ones. */
export const kimiLinear: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  // transformers writes the fields of `linear_attn_config` flat, and the layers as types.
  const linear = c.sub("linear_attn_config") ?? c;
  const types = c.strings("layer_types", layers);
  const full = new Set(
    types
      ? types.flatMap((type, index) => (type === "full_attention" ? [index + 1] : []))
      : (linear.counts("full_attn_layers") ?? []),
  );
  const isMoe = moeLayers(c, layers);
  const { experts, topK } = expertCounts(c, "num_experts", "n_routed_experts");
  const width = c.count("moe_intermediate_size");
  const inner = c.countOr(0, "routed_expert_hidden_size");
  const gated = c.flag(false, "mla_use_output_gate");
  const shape = { ...latentShape(c), gated, indexer: null };
  const outputs = shape.heads * shape.valueDim;
  const softmax = latent(hidden, shape, {
    extra: gated
      ? [
          {
            name: "self_attn.g_proj.weight",
            shape: [outputs, hidden],
            module: "attention",
            cut: { kind: "tensor", dim: 0, units: shape.heads },
            use: "linear",
            trained: true,
            counted: true,
          },
        ]
      : [],
  });
  const delta = kimiDelta(
    hidden,
    linear.count("num_heads", "linear_num_heads"),
    linear.count(...(linear === c ? ["linear_head_dim"] : ["head_dim"])),
    linear.count("short_conv_kernel_size", "linear_conv_kernel_dim"),
    linear.flag(false, "use_full_rank_gate"),
  );
  const mixture = moe(hidden, experts, topK, width, {
    correction: "gate.e_score_correction_bias",
    shared: { name: "shared_experts.", width: c.countOr(0, "num_shared_experts") * width },
    ...(inner > 0 && inner !== hidden
      ? {
          latent: { size: inner, into: "latent_down_proj", out: "latent_up_proj" },
          extra: c.flag(false, "latent_moe_use_norm") ? [norm("mlp.latent_norm", inner)] : [],
        }
      : {}),
  });
  const layer = (index: number): LayerBody => {
    // The lists count layers from 1.
    const attention = full.has(index + 1) ? softmax : delta;
    const feed = isMoe(index) ? mixture : dense(hidden, c.count("intermediate_size"));
    const kind = `${full.has(index + 1) ? "mla" : "kda"}+${isMoe(index) ? "moe" : "dense"}`;
    return body(hidden, [attention, feed], kind);
  };
  return { ...around(c, hidden), layers: layersOf(layers, layer), mtp: [] };
};

/** Gemma 4: a dense block and a mixture side by side; global layers share keys and values. */
export const gemma4: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const h = heads(c, hidden);
  const types = c.strings("layer_types", layers);
  const hasMoe = c.flag(false, "enable_moe_block");
  const shareValues = c.flag(false, "attention_k_eq_v");
  if (c.countOr(0, "num_kv_shared_layers") > 0 || c.flag(false, "use_double_wide_mlp")) {
    throw c.contradiction(
      "layers that borrow keys and values from earlier ones (num_kv_shared_layers, use_double_wide_mlp) are not modelled",
      "尚不支援借用前面層鍵值的層（num_kv_shared_layers、use_double_wide_mlp）",
      "num_kv_shared_layers",
    );
  }
  const perLayer = c.countOr(0, "hidden_size_per_layer_input");
  const globalDim = (index: number): number => {
    const own = c.sub("per_layer_config")?.sub(String(index).padStart(2, "0"));
    return own?.has("head_dim") ? own.count("head_dim") : c.countOr(h.dim, "global_head_dim");
  };
  const layer = (index: number): LayerBody => {
    const sliding = types ? types[index] === "sliding_attention" : (index + 1) % 6 !== 0;
    const attention = sliding
      ? grouped(hidden, h.query, h.keyValue, h.dim, {
          queryKeyNorm: "head",
          window: c.count("sliding_window"),
        })
      : grouped(
          hidden,
          h.query,
          shareValues ? c.countOr(h.keyValue, "num_global_key_value_heads") : h.keyValue,
          globalDim(index),
          { queryKeyNorm: "head", sharedValue: shareValues },
        );
    const norms = [
      "input_layernorm",
      "post_attention_layernorm",
      "pre_feedforward_layernorm",
      "post_feedforward_layernorm",
      ...(hasMoe
        ? ["post_feedforward_layernorm_1", "post_feedforward_layernorm_2", "pre_feedforward_layernorm_2"]
        : []),
    ];
    const branches: Sublayer[] = [attention, dense(hidden, c.count("intermediate_size"))];
    if (hasMoe) branches.push(gemmaMoe(c, hidden));
    return {
      kind: `${sliding ? "window" : "global"}+dense${hasMoe ? "+moe" : ""}`,
      weights: [
        ...layerNorms(hidden, ...norms),
        buffer("layer_scalar", [1], "norm", false),
        ...(perLayer === 0
          ? []
          : [
              ...whole("per_layer_input_gate", perLayer, hidden, "mlp"),
              ...whole("per_layer_projection", hidden, perLayer, "mlp"),
              norm("post_per_layer_input_norm", hidden),
            ]),
      ],
      sublayers: branches,
    };
  };
  const parts = around(c, hidden);
  const embedding =
    perLayer === 0
      ? parts.embedding
      : {
          weights: [
            ...parts.embedding.weights,
            lookup(
              "model.embed_tokens_per_layer.weight",
              c.count("vocab_size_per_layer_input", "vocab_size"),
              layers * perLayer,
            ),
            ...whole("model.per_layer_model_projection", layers * perLayer, hidden, "embedding"),
            norm("model.per_layer_projection_norm", perLayer),
          ],
        };
  return { ...parts, embedding, layers: layersOf(layers, layer), mtp: [] };
};

function gemmaMoe(c: Fields, hidden: number): Sublayer {
  const { experts, topK } = expertCounts(c, "num_experts");
  return moe(hidden, experts, topK, c.count("moe_intermediate_size"), {
    prefix: "router.",
    expertPrefix: "experts.",
    router: "proj",
    extra: [
      vector("router.scale", [hidden], "router"),
      ...routerScales([["router.per_expert_scale", experts]]),
    ],
  });
}
