import { unwrap } from "../../base/index.ts";
import { importModel, type Model } from "../../model/index.ts";
import { BF16_MIXED, type Training } from "../layout.ts";

/** A mixture of experts that one device can hold. */
export const smallMixture = (layers = 8, experts = 8): Model =>
  unwrap(
    importModel({
      model_type: "qwen3_moe",
      hidden_size: 1024,
      num_hidden_layers: layers,
      num_attention_heads: 16,
      num_key_value_heads: 4,
      head_dim: 64,
      intermediate_size: 2048,
      moe_intermediate_size: 512,
      num_experts: experts,
      num_experts_per_tok: 2,
      vocab_size: 32000,
      max_position_embeddings: 8192,
      tie_word_embeddings: false,
      decoder_sparse_step: 1,
      norm_topk_prob: true,
      mlp_only_layers: [],
    }),
  );

export const smallTraining = (globalBatch = 16): Training => ({
  sequence: 4096,
  microBatch: 1,
  globalBatch,
  precision: BF16_MIXED,
  optimizer: "adamw",
  mtp: false,
});
