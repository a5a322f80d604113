/** Tiny models and layouts on which our engine's real ranks are compared with the prediction. */
import { unwrap } from "../../src/base/index.ts";
import { evenStages, FLOAT32, type Layout, SINGLE, type Training } from "../../src/layout/layout.ts";
import { importModel, type Model } from "../../src/model/index.ts";

const COMMON = { vocab_size: 300, hidden_size: 64, num_hidden_layers: 4, max_position_embeddings: 256 };
const MOE = { moe_intermediate_size: 32, num_experts_per_tok: 2 };

/** Published families in toy sizes; the odd vocabulary makes uneven chunks. */
export const TINY: Readonly<Record<string, Record<string, unknown>>> = {
  v4: {
    ...COMMON,
    ...MOE,
    model_type: "deepseek_v4",
    num_attention_heads: 4,
    num_key_value_heads: 1,
    head_dim: 32,
    qk_rope_head_dim: 8,
    q_lora_rank: 32,
    n_routed_experts: 8,
    n_shared_experts: 1,
    layer_types: [
      "sliding_attention",
      "compressed_sparse_attention",
      "heavily_compressed_attention",
      "compressed_sparse_attention",
    ],
    mlp_layer_types: ["hash_moe", "moe", "moe", "moe"],
    compress_rates: { compressed_sparse_attention: 4, heavily_compressed_attention: 8 },
    sliding_window: 16,
    o_groups: 2,
    o_lora_rank: 16,
    index_n_heads: 2,
    index_head_dim: 16,
    index_topk: 4,
    hc_mult: 2,
    hc_sinkhorn_iters: 4,
    num_nextn_predict_layers: 1,
  },
  v3: {
    ...COMMON,
    ...MOE,
    model_type: "deepseek_v3",
    intermediate_size: 96,
    num_attention_heads: 4,
    num_key_value_heads: 4,
    n_shared_experts: 1,
    n_routed_experts: 8,
    n_group: 2,
    topk_group: 1,
    first_k_dense_replace: 1,
    q_lora_rank: 32,
    kv_lora_rank: 16,
    qk_rope_head_dim: 8,
    v_head_dim: 16,
    qk_nope_head_dim: 16,
    num_nextn_predict_layers: 1,
  },
  qwen3_moe: {
    ...COMMON,
    ...MOE,
    model_type: "qwen3_moe",
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 16,
    intermediate_size: 96,
    num_experts: 8,
    norm_topk_prob: true,
    tie_word_embeddings: false,
  },
  qwen3: {
    ...COMMON,
    model_type: "qwen3",
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 16,
    intermediate_size: 96,
    tie_word_embeddings: true,
  },
};

/** FSDP cannot cut experts over 3 ranks (dimension 1 must come out even), so uneven chunks are for the dense model. */
const SHAPES: readonly (readonly [string, Partial<Layout>])[] = [
  ["one rank", {}],
  ["FSDP3", { dpShard: 3 }],
  ["EP2 x FSDP2", { dpShard: 4, ep: 2 }],
  ["replicate 2 x EP2", { dpReplicate: 2, dpShard: 2, ep: 2 }],
  ["PP2 x EP2", { pp: 2, dpShard: 2, ep: 2 }],
  ["PP2", { pp: 2 }],
  ["PP2 x VPP2", { pp: 2, vpp: 2, schedule: "interleaved1f1b" }],
];

export type EngineCase = {
  readonly name: string;
  readonly kind: string;
  readonly model: Model;
  readonly layout: Layout;
  readonly training: Training;
  /** What `engine_dump.py` reads. */
  readonly input: { readonly config: unknown; readonly spec: unknown };
};

export function engineCases(shapes = SHAPES): EngineCase[] {
  return Object.entries(TINY).flatMap(([kind, config]) =>
    (["none", "full"] as const).flatMap((recompute) =>
      shapes
        .filter(([, { ep, dpShard }]) => (kind === "qwen3" ? (ep ?? 1) === 1 : dpShard !== 3))
        .map(([name, shape]) => engineCase(kind, config, name, shape, recompute)),
    ),
  );
}

function engineCase(
  kind: string,
  config: Record<string, unknown>,
  name: string,
  shape: Partial<Layout>,
  recompute: "none" | "full",
): EngineCase {
  const model = unwrap(importModel(config));
  const degrees = { ...SINGLE, ...shape };
  const layout: Layout = {
    ...degrees,
    zero: 3,
    // Without a pipeline the engine's forward can be held still with its weights gathered.
    reshardAfterForward: false,
    recompute: { kind: recompute },
    stages: evenStages(model.layers.length, degrees.pp * degrees.vpp),
  };
  const training: Training = {
    sequence: 64,
    microBatch: 2,
    globalBatch: 4 * layout.pp * layout.dpReplicate * layout.dpShard,
    precision: FLOAT32,
    optimizer: "adamw",
    mtp: true,
  };
  const { pp, vpp, dpReplicate, dpShard, ep, schedule, stages } = layout;
  const spec = {
    seed: 3,
    layout: {
      pp,
      vpp,
      dpReplicate,
      dpShard,
      ep,
      schedule,
      stages,
      recompute,
      reshardAfterForward: pp > 1 ? null : false,
    },
    moe: { biasRate: 0.001, sequenceBalanceLoss: 0 },
    mtp: { lossWeight: 0.3 },
    indexer: { lossWeight: 0.1 },
    batch: {
      sequenceLength: training.sequence,
      microBatch: training.microBatch,
      globalBatch: training.globalBatch,
    },
    optimizer: { learningRate: 0.001, weightDecay: 0.1 },
  };
  return {
    name: `${kind}, ${name}, recompute ${recompute}`,
    kind,
    model,
    layout,
    training,
    input: { config, spec },
  };
}
