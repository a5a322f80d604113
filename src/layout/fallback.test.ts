import { expect, test } from "vitest";
import { unwrap } from "../base/index.ts";
import { type Cluster, clusterDevices, presetCluster } from "../cluster/index.ts";
import { importModel } from "../model/index.ts";
import { fallbacks } from "./fallback.ts";
import { BF16_MIXED, microBatches, paddedSequences, worldOf } from "./layout.ts";
import { plan, type PlanRequest } from "./plan.ts";

const model = unwrap(
  importModel({
    model_type: "qwen3_moe",
    hidden_size: 1024,
    num_hidden_layers: 8,
    num_attention_heads: 16,
    num_key_value_heads: 4,
    head_dim: 64,
    intermediate_size: 2048,
    moe_intermediate_size: 512,
    num_experts: 24,
    num_experts_per_tok: 2,
    vocab_size: 32000,
    max_position_embeddings: 8192,
    tie_word_embeddings: false,
    decoder_sparse_step: 1,
    norm_topk_prob: true,
    mlp_only_layers: [],
  }),
);
const request = (engine: "megatron" | "tessera", batch: number): PlanRequest => ({
  model,
  cluster: presetCluster("h100", 64) as Cluster,
  training: {
    sequence: 4096,
    microBatch: 1,
    globalBatch: batch,
    precision: BF16_MIXED,
    optimizer: "adamw",
    mtp: false,
  },
  constraints: { engine, pp: [1, 2], tp: [1], cp: [1] },
});

test("a batch that the devices left do not divide is filled with empty sequences", () => {
  const asked = request("megatron", 512);
  const full = unwrap(plan(asked));
  const list = fallbacks(asked, full, 4);
  expect(list.map((f) => f.lostNodes)).toEqual([1, 2, 3, 4]);
  // 56 and 48 devices leave 512 between multiples; 32 divide it.
  expect(list[0]?.emptySequences).toBeGreaterThan(0);
  expect(list[1]?.emptySequences).toBeGreaterThan(0);
  for (const f of list) {
    const chosen = { ...full.training, microBatch: f.microBatch, padBatch: 1 };
    expect(paddedSequences(f.layout, chosen)).toBe(f.emptySequences);
    expect(Number.isInteger(microBatches(f.layout, chosen))).toBe(true);
    expect(f.emptySequences).toBeLessThanOrEqual(0.25 * 512);
    expect(worldOf(f.layout)).toBeLessThanOrEqual(clusterDevices(asked.cluster) - 8 * f.lostNodes);
    // Empty sequences cost time: no plan is faster than its share of the devices allows by much.
    expect(f.speed).toBeLessThanOrEqual(1);
  }
});

test("our own engine, which has no empty sequences, keeps layouts that divide the batch", () => {
  const asked = request("tessera", 64);
  const full = unwrap(plan(asked));
  const list = fallbacks(asked, full, 3);
  expect(list.length).toBeGreaterThan(0);
  for (const f of list) {
    expect(f.emptySequences).toBe(0);
    expect(64 % (f.microBatch * f.layout.dpReplicate * f.layout.dpShard)).toBe(0);
  }
});
