import { deepseek, deepseekV4, longcat } from "./deepseek.ts";
import { denseFamily, prunedLlama } from "./dense.ts";
import { gemma4, kimiLinear, nemotronH, qwenHybrid } from "./hybrids.ts";
import {
  glm4Moe,
  gptOss,
  llama4,
  minimaxM2,
  minimaxM3,
  mixtral,
  plainMoe,
  qwenMoe,
  step3,
} from "./mixtures.ts";
import type { Family } from "./parts.ts";

const v3 = deepseek({ indexed: false, corrected: true });
const dsa = deepseek({ indexed: true, corrected: true });
const qwen3 = denseFamily({ queryKeyNorm: "head" });

/** Norms after each branch instead of before it; before and after it. */
const POST_NORMS = ["post_attention_layernorm", "post_feedforward_layernorm"] as const;
const SANDWICH_NORMS = [
  "input_layernorm",
  "post_attention_layernorm",
  "post_self_attn_layernorm",
  "post_mlp_layernorm",
] as const;

/** model_type -> how to read it. Text parts of multimodal models stand under their own names. */
export const FAMILIES: Readonly<Record<string, Family>> = {
  llama: denseFamily(),
  mistral: denseFamily({ bias: false }),
  ministral: denseFamily({ bias: false }),
  mistral3_text: denseFamily({ bias: false }),
  qwen2: denseFamily({ bias: true, outBias: false }),
  qwen2_vl_text: denseFamily({ bias: true, outBias: false }),
  qwen2_5_vl_text: denseFamily({ bias: true, outBias: false }),
  qwen3,
  qwen3_vl_text: qwen3,
  mimo: denseFamily({ outBias: false }),
  seed_oss: denseFamily({ outBias: false }),
  ministral3: denseFamily({ bias: false }),
  granite: denseFamily(),
  smollm3: denseFamily(),
  ernie4_5: denseFamily(),
  olmo2: denseFamily({ queryKeyNorm: "full", norms: POST_NORMS }),
  olmo3: denseFamily({ queryKeyNorm: "full", norms: POST_NORMS }),
  exaone4: denseFamily({ bias: false, queryKeyNorm: "head", norms: POST_NORMS }),
  phi3: denseFamily({ bias: false, fusedAttention: true, fusedMlp: true }),
  glm: denseFamily({ outBias: false, fusedMlp: true }),
  glm4: denseFamily({ outBias: false, fusedMlp: true, norms: SANDWICH_NORMS }),
  "nemotron-nas": prunedLlama,
  mixtral,
  qwen2_moe: qwenMoe(2),
  qwen3_moe: qwenMoe(3),
  qwen3_vl_moe_text: qwenMoe(3),
  qwen3_5: qwenHybrid(false),
  qwen3_5_text: qwenHybrid(false),
  qwen3_5_moe: qwenHybrid(true),
  qwen3_5_moe_text: qwenHybrid(true),
  glm4_moe: glm4Moe,
  glm4v_moe_text: glm4Moe,
  olmoe: plainMoe({ queryKeyNorm: "full", width: ["intermediate_size"] }),
  hy_v3: plainMoe({ queryKeyNorm: "head", correction: "e_score_correction_bias" }),
  solar_open: plainMoe({ correction: "gate.e_score_correction_bias", groups: true }),
  laguna: plainMoe({ queryKeyNorm: "head", gate: true, correction: "gate.e_score_correction_bias" }),
  ernie4_5_moe: plainMoe({ correction: "gate.moe_statics.e_score_correction_bias" }),
  qwen3_next: qwenHybrid(true, true),
  minimax_m2: minimaxM2,
  minimax_m3: minimaxM3,
  minimax_m3_vl_text: minimaxM3,
  gpt_oss: gptOss,
  llama4: llama4,
  llama4_text: llama4,
  step3p5: step3,
  step3p7: step3,
  deepseek_v2: deepseek({ indexed: false, corrected: false }),
  deepseek_v3: v3,
  kimi_k2: v3,
  glm4_moe_lite: v3,
  deepseek_v32: dsa,
  glm_moe_dsa: dsa,
  deepseek_v4: deepseekV4,
  longcat_flash: longcat,
  nemotron_h: nemotronH,
  kimi_linear: kimiLinear,
  gemma4: gemma4,
  gemma4_text: gemma4,
};

/** transformers class -> model_type, for configs whose model_type is a private name. */
export const ARCHITECTURES: Readonly<Record<string, string>> = {
  LlamaForCausalLM: "llama",
  MistralForCausalLM: "mistral",
  MixtralForCausalLM: "mixtral",
  Qwen2ForCausalLM: "qwen2",
  Qwen3ForCausalLM: "qwen3",
  Qwen3MoeForCausalLM: "qwen3_moe",
  DeepseekV2ForCausalLM: "deepseek_v2",
  DeepseekV3ForCausalLM: "deepseek_v3",
  DeepseekV32ForCausalLM: "deepseek_v32",
  DeepseekV4ForCausalLM: "deepseek_v4",
  GlmMoeDsaForCausalLM: "glm_moe_dsa",
  Glm4MoeForCausalLM: "glm4_moe",
  GptOssForCausalLM: "gpt_oss",
  MiniMaxM2ForCausalLM: "minimax_m2",
  KimiLinearForCausalLM: "kimi_linear",
  NemotronHForCausalLM: "nemotron_h",
  DeciLMForCausalLM: "nemotron-nas",
  LongcatFlashForCausalLM: "longcat_flash",
};
