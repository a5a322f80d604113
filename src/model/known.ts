// Dimensions as the models' own config.json files state them.
const v4 = (
  layers: number,
  hidden: number,
  heads: number,
  queryRank: number,
  groups: number,
  topK: number,
  experts: number,
  width: number,
  first: number[],
) => ({
  model_type: "deepseek_v4",
  num_hidden_layers: layers,
  num_nextn_predict_layers: 1,
  hidden_size: hidden,
  num_attention_heads: heads,
  num_key_value_heads: 1,
  head_dim: 512,
  qk_rope_head_dim: 64,
  q_lora_rank: queryRank,
  o_lora_rank: 1024,
  o_groups: groups,
  compress_ratios: [
    ...Array.from({ length: layers }, (_, i) => (i < 2 ? (first[i] as number) : i % 2 === 0 ? 4 : 128)),
    0,
  ],
  sliding_window: 128,
  index_n_heads: 64,
  index_head_dim: 128,
  index_topk: topK,
  n_routed_experts: experts,
  num_experts_per_tok: 6,
  n_shared_experts: 1,
  moe_intermediate_size: width,
  num_hash_layers: 3,
  hc_mult: 4,
  vocab_size: 129280,
  max_position_embeddings: 1048576,
  tie_word_embeddings: false,
});
const mla = {
  q_lora_rank: 1536,
  kv_lora_rank: 512,
  qk_nope_head_dim: 128,
  qk_rope_head_dim: 64,
  v_head_dim: 128,
};
const v3 = (heads: number, experts: number, dense: number, vocab: number, mtp: number) => ({
  model_type: "deepseek_v3",
  num_hidden_layers: 61,
  num_nextn_predict_layers: mtp,
  first_k_dense_replace: dense,
  hidden_size: 7168,
  num_attention_heads: heads,
  num_key_value_heads: heads,
  ...mla,
  intermediate_size: 18432,
  moe_intermediate_size: 2048,
  n_routed_experts: experts,
  num_experts_per_tok: 8,
  n_shared_experts: 1,
  n_group: 8,
  topk_group: 4,
  vocab_size: vocab,
  max_position_embeddings: 163840,
  tie_word_embeddings: false,
});
const qwen3 = (layers: number, hidden: number, heads: number, width: number) => ({
  model_type: "qwen3_moe",
  num_hidden_layers: layers,
  hidden_size: hidden,
  num_attention_heads: heads,
  num_key_value_heads: 4,
  head_dim: 128,
  intermediate_size: 4 * width,
  moe_intermediate_size: width,
  num_experts: 128,
  num_experts_per_tok: 8,
  decoder_sparse_step: 1,
  mlp_only_layers: [],
  norm_topk_prob: true,
  vocab_size: 151936,
  max_position_embeddings: 40960,
  tie_word_embeddings: false,
});
const llama = (layers: number, hidden: number, heads: number, width: number) => ({
  model_type: "llama",
  num_hidden_layers: layers,
  hidden_size: hidden,
  num_attention_heads: heads,
  num_key_value_heads: 8,
  intermediate_size: width,
  vocab_size: 128256,
  max_position_embeddings: 131072,
  tie_word_embeddings: false,
});

/** Well-known models by name, as configs that `importModel` reads: for the page and the command line, where no file is at hand. */
export const KNOWN_MODELS: Readonly<Record<string, object>> = {
  "DeepSeek-V4-Pro": v4(61, 7168, 128, 1536, 16, 1024, 384, 3072, [128, 128]),
  "DeepSeek-V4-Flash": v4(43, 4096, 64, 1024, 8, 512, 256, 2048, [0, 0]),
  "DeepSeek-V3": v3(128, 256, 3, 129280, 1),
  "Kimi-K2": v3(64, 384, 1, 163840, 0),
  "Qwen3-235B-A22B": qwen3(94, 4096, 64, 1536),
  "Qwen3-30B-A3B": qwen3(48, 2048, 32, 768),
  "Llama-3.1-405B": llama(126, 16384, 128, 53248),
  "Llama-3.1-70B": llama(80, 8192, 64, 28672),
  "Llama-3.1-8B": llama(32, 4096, 32, 14336),
};

/** Config of a well-known model, its name in any case; undefined for another name. */
export function knownConfig(name: string): object | undefined {
  const found = Object.keys(KNOWN_MODELS).find((known) => known.toLowerCase() === name.toLowerCase());
  return found === undefined ? undefined : KNOWN_MODELS[found];
}
