/** Details of the decoders that `decoder` reads: Gemma, Cohere, Phi, Falcon, Granite, dots, Hunyuan, Ling, AFMoE and others. */
import type { Fields } from "../fields.ts";
import { norm, vector } from "../weights.ts";
import { decoder } from "./decoder.ts";
import { type Family, POST_NORMS } from "./parts.ts";

const GEMMA_NORMS = [
  "input_layernorm",
  "post_attention_layernorm",
  "pre_feedforward_layernorm",
  "post_feedforward_layernorm",
];
const ONE_NORM = ["input_layernorm"];
const AFMOE_NORMS = [
  "input_layernorm",
  "post_attention_layernorm",
  "pre_mlp_layernorm",
  "post_mlp_layernorm",
];
const useBias = (c: Fields) => c.flag(true, "use_bias");
/** So many shared experts, each as wide as a routed one. */
const sharedBy =
  (...names: string[]) =>
  (c: Fields, width: number): number =>
    c.countOr(0, ...names) * width;
const GRANITE_MOE = {
  width: ["intermediate_size"],
  shared: (c: Fields) => c.countOr(0, "shared_intermediate_size"),
  prefix: "block_sparse_moe.",
  router: "router",
};

/** Hunyuan writes per-layer lists that repeat one value, and may write them for one number. */
const flattened =
  (family: Family): Family =>
  (c) => {
    const record = Object.fromEntries(
      Object.entries(c.record).map(([key, value]) => {
        if (!Array.isArray(value) || typeof value[0] !== "number" || !/moe|expert/.test(key))
          return [key, value];
        if (value.some((entry) => entry !== value[0])) {
          throw c.contradiction(
            `${key} differs from layer to layer, which no class here runs`,
            `${key} 各層不同，尚不支援`,
            key,
          );
        }
        return [key, value[0]];
      }),
    );
    return family(c.with(record));
  };

export const DECODERS: Readonly<Record<string, Family>> = {
  gemma: decoder(),
  gemma2: decoder({ norms: GEMMA_NORMS, every: 2 }),
  gemma3_text: decoder({ norms: GEMMA_NORMS, queryKeyNorm: "head", every: 6 }),
  vaultgemma: decoder({ norms: ["input_layernorm", "pre_feedforward_layernorm"], every: 2 }),
  cohere: decoder({
    norms: ONE_NORM,
    queryKeyNorm: (c) => (c.flag(false, "use_qk_norm") ? "full" : "none"),
  }),
  cohere2: decoder({ norms: ONE_NORM, every: 4 }),
  cohere2_moe: decoder({
    norms: ONE_NORM,
    every: 4,
    mixture: { width: ["intermediate_size"], shared: sharedBy("num_shared_experts") },
  }),
  phi: decoder({
    norms: ONE_NORM,
    normBias: true,
    bias: true,
    mlpBias: () => true,
    headBias: () => true,
    plainMlp: true,
  }),
  phimoe: decoder({
    normBias: true,
    headBias: (c) => c.flag(false, "lm_head_bias"),
    mixture: { width: ["intermediate_size"], router: "router" },
  }),
  starcoder2: decoder({ normBias: true, bias: useBias, mlpBias: useBias, plainMlp: true }),
  stablelm: decoder({ normBias: true, bias: (c) => c.flag(false, "use_qkv_bias"), outBias: false }),
  gpt_neox: decoder({
    normBias: true,
    bias: (c) => c.flag(true, "attention_bias"),
    mlpBias: () => true,
    plainMlp: true,
  }),
  olmo: decoder({ bareNorms: true }),
  arcee: decoder({ plainMlp: true }),
  helium: decoder(),
  internlm3: decoder({ outBias: (c) => c.flag(false, "bias") }),
  iquestcoder: decoder(),
  cwm: decoder(),
  jais2: decoder({ normBias: true, plainMlp: true }),
  nemotron: decoder({ normBias: true, plainMlp: true }),
  hyperclovax: decoder({
    extra: (c, hidden) =>
      c.flag(true, "use_post_norm") ? ["post_norm1", "post_norm2"].map((name) => norm(name, hidden)) : [],
  }),
  apertus: decoder({
    norms: ["attention_layernorm", "feedforward_layernorm"],
    queryKeyNorm: "head",
    plainMlp: true,
    extra: () => ["alpha_p", "alpha_n"].map((name) => vector(`mlp.act_fn.${name}`, [1], "mlp")),
  }),
  bitnet: decoder({
    extra: (c, hidden) => [
      norm("self_attn.attn_sub_norm", hidden),
      norm("mlp.ffn_sub_norm", c.count("intermediate_size")),
    ],
  }),
  granite_swa: decoder({ sinks: true }),
  granitemoe: decoder({ mixture: GRANITE_MOE }),
  granitemoeshared: decoder({ mixture: GRANITE_MOE }),
  granitemoe_swa: decoder({ sinks: true, mixture: GRANITE_MOE }),
  dots1: decoder({
    queryKeyNorm: "head",
    mixture: { shared: sharedBy("n_shared_experts"), correction: "gate.e_score_correction_bias" },
  }),
  exaone_moe: decoder({
    queryKeyNorm: "head",
    mixture: { shared: sharedBy("num_shared_experts"), correction: "gate.e_score_correction_bias" },
  }),
  flint: decoder({
    queryKeyNorm: "head",
    sinks: true,
    mixture: { shared: (c) => c.countOr(0, "shared_expert_intermediate_size") },
  }),
  mellum: decoder({ queryKeyNorm: "head", mixture: {} }),
  flex_olmo: decoder({
    norms: POST_NORMS,
    queryKeyNorm: "full",
    mixture: { width: ["intermediate_size"] },
  }),
  afmoe: decoder({
    norms: AFMOE_NORMS,
    queryKeyNorm: "head",
    gated: true,
    every: 4,
    mixture: {
      shared: sharedBy("num_shared_experts"),
      correction: "expert_bias",
      router: "router.gate",
    },
  }),
  aria_text: decoder({
    mixture: {
      width: ["intermediate_size"],
      shared: sharedBy("moe_num_shared_experts"),
      router: "router",
      transposed: true,
    },
  }),
  hunyuan_v1_dense: decoder({ queryKeyNorm: "head" }),
  hunyuan_v1_moe: flattened(
    decoder({
      queryKeyNorm: "head",
      mixture: {
        // Without the field one shared branch stands beside the experts.
        shared: (c, width) => c.countOr(1, "num_shared_expert") * width,
        router: "gate.wg",
      },
    }),
  ),
  bailing_moe: decoder({ outBias: false, mixture: { shared: sharedBy("num_shared_experts") } }),
  bailing_moe_v2: decoder({
    outBias: false,
    queryKeyNorm: "head",
    mixture: { shared: sharedBy("num_shared_experts"), correction: "gate.expert_bias" },
  }),
  minicpm3: decoder({ latentAttention: true }),
  youtu: decoder({ latentAttention: true }),
  axk1: decoder({
    latentAttention: true,
    mixture: { shared: sharedBy("n_shared_experts"), correction: "gate.e_score_correction_bias" },
    extra: (_, hidden, sparse) => (sparse ? [norm("mlp.post_mlp_layernorm", hidden)] : []),
  }),
};
