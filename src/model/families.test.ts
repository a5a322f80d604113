import { expect, test } from "vitest";
import { unwrap } from "../base/index.ts";
import { countParameters, importModel } from "./index.ts";

/**
 * Totals that transformers' classes have on the meta device for these fields, router biases left out (they are buffers there).
 * `bench/layout/transformers.ts` compares 84 types this way; these are one of each unlike kind, with fields that configs leave out.
 */
const ROWS: readonly (readonly [string, number, Record<string, unknown>])[] = [
  [
    "gemma2",
    2_614_341_888,
    {
      vocab_size: 256000,
      hidden_size: 2304,
      intermediate_size: 9216,
      num_hidden_layers: 26,
      num_attention_heads: 8,
      num_key_value_heads: 4,
      head_dim: 256,
      sliding_window: 4096,
    },
  ],
  [
    "gemma3_text",
    2_628_658_432,
    {
      vocab_size: 262208,
      hidden_size: 2304,
      intermediate_size: 9216,
      num_hidden_layers: 26,
      num_attention_heads: 8,
      num_key_value_heads: 4,
      head_dim: 256,
      sliding_window: 4096,
    },
  ],
  [
    "cohere",
    34_980_831_232,
    {
      vocab_size: 256000,
      hidden_size: 8192,
      intermediate_size: 22528,
      num_hidden_layers: 40,
      num_attention_heads: 64,
    },
  ],
  [
    "phi",
    1_418_270_720,
    {
      vocab_size: 51200,
      hidden_size: 2048,
      intermediate_size: 8192,
      num_hidden_layers: 24,
      num_attention_heads: 32,
    },
  ],
  [
    "phimoe",
    41_872_793_600,
    {
      vocab_size: 32064,
      hidden_size: 4096,
      intermediate_size: 6400,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      num_key_value_heads: 8,
      num_local_experts: 16,
      num_experts_per_tok: 2,
    },
  ],
  [
    "falcon",
    6_921_720_704,
    { vocab_size: 65024, hidden_size: 4544, num_hidden_layers: 32, num_attention_heads: 71 },
  ],
  [
    "granitemoehybrid",
    38_601_064_448,
    {
      vocab_size: 32000,
      hidden_size: 4096,
      intermediate_size: 11008,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      num_local_experts: 8,
      num_experts_per_tok: 2,
      shared_intermediate_size: 1024,
      mamba_d_head: 64,
    },
  ],
  [
    "granitemoe",
    37_039_116_288,
    {
      vocab_size: 32000,
      hidden_size: 4096,
      intermediate_size: 11008,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      num_local_experts: 8,
      num_experts_per_tok: 2,
    },
  ],
  [
    "dots1",
    163_585_920_960,
    {
      vocab_size: 152064,
      hidden_size: 4608,
      moe_intermediate_size: 1408,
      intermediate_size: 10944,
      num_hidden_layers: 62,
      num_attention_heads: 32,
      n_routed_experts: 128,
      num_experts_per_tok: 6,
      n_shared_experts: 2,
    },
  ],
  [
    "afmoe",
    19_232_600_000,
    {
      vocab_size: 200192,
      hidden_size: 2048,
      moe_intermediate_size: 1408,
      intermediate_size: 6144,
      num_hidden_layers: 32,
      num_dense_layers: 1,
      num_attention_heads: 16,
      head_dim: 128,
      num_experts: 64,
      num_experts_per_tok: 6,
      num_shared_experts: 2,
    },
  ],
  [
    "mimo_v2_flash",
    308_778_768_832,
    {
      vocab_size: 152576,
      hidden_size: 4096,
      moe_intermediate_size: 2048,
      intermediate_size: 16384,
      num_hidden_layers: 48,
      num_attention_heads: 64,
      num_key_value_heads: 4,
      swa_num_key_value_heads: 8,
      head_dim: 192,
      v_head_dim: 128,
      n_routed_experts: 256,
      num_experts_per_tok: 8,
      sliding_window: 129,
      first_k_dense_replace: 1,
      hybrid_layer_pattern: Array.from({ length: 48 }, (_, i) => (i === 0 || i % 6 === 5 ? 0 : 1)),
    },
  ],
  [
    "minimax",
    47_373_946_880,
    {
      vocab_size: 32000,
      hidden_size: 4096,
      intermediate_size: 14336,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      num_key_value_heads: 8,
      num_local_experts: 8,
      num_experts_per_tok: 2,
    },
  ],
  [
    "axk1",
    518_983_052_288,
    {
      vocab_size: 163840,
      hidden_size: 7168,
      moe_intermediate_size: 2048,
      intermediate_size: 18432,
      num_hidden_layers: 61,
      num_attention_heads: 64,
      n_routed_experts: 192,
      num_experts_per_tok: 8,
      n_shared_experts: 1,
      first_k_dense_replace: 1,
      q_lora_rank: 1536,
      kv_lora_rank: 512,
      qk_nope_head_dim: 128,
      qk_rope_head_dim: 64,
      v_head_dim: 128,
    },
  ],
  [
    "hunyuan_v1_moe",
    13_188_337_664,
    {
      vocab_size: 290943,
      hidden_size: 4096,
      intermediate_size: 11008,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      head_dim: 128,
      num_experts: 1,
      moe_topk: [1, 1],
      num_shared_expert: [1, 1],
    },
  ],
];

test.each(ROWS)("%s has the parameters of transformers' class", (type, total, fields) => {
  const model = unwrap(importModel({ model_type: type, ...fields }));
  const counts = countParameters(model);
  // afmoe holds its balancing bias as a parameter; everywhere else it is a buffer that is counted here.
  const buffers = [...model.layers].reduce(
    (sum, { body }) =>
      sum +
      body.sublayers
        .flatMap((s) => s.weights)
        .filter((w) => w.counted && !w.trained)
        .reduce((all, w) => all + w.shape.reduce((a, b) => a * b, 1), 0),
    0,
  );
  expect([counts.main, counts.main - buffers]).toContain(total);
});

test("lists that differ from layer to layer are refused where the class runs one value", () => {
  const result = importModel({
    model_type: "hunyuan_v1_moe",
    vocab_size: 1000,
    hidden_size: 64,
    intermediate_size: 64,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_experts: 4,
    moe_topk: [1, 2],
  });
  expect(result.ok ? "" : result.error.code).toBe("MODEL_CONTRADICTION");
});
