/**
 * Measured memory of the SimuMax release (B200: every rank; A100: the fullest rank) as models and layouts of ours.
 *
 * Model shapes are the launch scripts' (MooreThreads/SimuMax `simu_tools/megatron_scripts/scripts/`), which cut published
 * models down to a few layers. Two details matter: the scripts' null tokenizer adds one token to the vocabulary before
 * Megatron pads it, and Llama-3-405B runs with 16 key/value heads (as first published; the later config says 8).
 */
import { unwrap } from "../../src/base/index.ts";
import { BF16_MIXED, evenStages, type Layout, SINGLE, type Training } from "../../src/layout/layout.ts";
import { importModel, type Model } from "../../src/model/index.ts";
import { readCsv } from "./shared.ts";

const llama = (
  layers: number,
  hidden: number,
  heads: number,
  keyValue: number,
  width: number,
  words = 128256,
) => ({
  model_type: "llama",
  hidden_size: hidden,
  num_hidden_layers: layers,
  num_attention_heads: heads,
  num_key_value_heads: keyValue,
  intermediate_size: width,
  vocab_size: words + 1,
});

const deepseek = (
  hidden: number,
  experts: number,
  topK: number,
  width: number,
  dense: number,
  shared: number,
  words: number,
) => ({
  model_type: "deepseek_v2",
  hidden_size: hidden,
  num_hidden_layers: 4,
  first_k_dense_replace: 1,
  num_attention_heads: 128,
  num_key_value_heads: 128,
  q_lora_rank: 1536,
  kv_lora_rank: 512,
  qk_nope_head_dim: 128,
  qk_rope_head_dim: 64,
  v_head_dim: 128,
  intermediate_size: dense,
  moe_intermediate_size: width,
  n_routed_experts: experts,
  num_experts_per_tok: topK,
  n_shared_experts: shared,
  vocab_size: words + 1,
});

const CONFIGS: Readonly<Record<string, (layers: number) => Record<string, unknown>>> = {
  "llama3-8b": (n) => llama(n, 4096, 32, 8, 14336, 128257),
  "llama3-70b": (n) => llama(n, 8192, 64, 8, 28672),
  "llama3-405b": (n) => llama(n, 16384, 128, 16, 53248),
  deepseekv2: () => deepseek(5120, 160, 6, 1536, 12288, 2, 102400),
  deepseekv3: () => deepseek(7168, 256, 8, 2048, 18432, 1, 129280),
};

export type MemoryCase = {
  readonly set: string;
  readonly name: string;
  readonly model: Model;
  readonly layout: Layout;
  readonly training: Training;
  /** Measured bytes: every rank, or the fullest one only. */
  readonly ranks: readonly number[];
  readonly reserved: number | undefined;
};

const GiB = 2 ** 30;
const MiB = 2 ** 20;

export function memoryCases(path: string): MemoryCase[] {
  const models = new Map<string, Model>();
  return readCsv(path).flatMap((row) => {
    const n = (key: string) => Number(row[key] || 1);
    if (!row["real_alloc_gib_max_rank"]) return [];
    const layers = n("layers_kept");
    const key = `${row["model"]}/${layers}`;
    const model = models.get(key) ?? unwrap(importModel(CONFIGS[row["model"] as string]?.(layers)));
    models.set(key, model);
    const layout: Layout = {
      ...SINGLE,
      pp: n("pp"),
      vpp: n("vpp"),
      tp: n("tp"),
      cp: n("cp"),
      dpShard: n("dp"),
      ep: n("ep"),
      schedule: n("vpp") > 1 ? "interleaved1f1b" : "1f1b",
      contextParallel: "ulysses",
      stages: evenStages(layers, n("pp") * n("vpp")),
    };
    const training: Training = {
      sequence: n("seq_len"),
      microBatch: n("mbs"),
      globalBatch: n("gbs"),
      precision: BF16_MIXED,
      optimizer: "adamw",
      mtp: false,
      // The scripts pad every expert to its even share (--moe-expert-capacity-factor 1).
      capacityFactor: 1,
    };
    const list = row["real_alloc_by_rank_mib"];
    return {
      set: row["set"] as string,
      name: row["case"] as string,
      model,
      layout,
      training,
      ranks: list ? list.split(";").map((x) => Number(x) * MiB) : [n("real_alloc_gib_max_rank") * GiB],
      reserved: row["real_reserved_gib_max_rank"] ? n("real_reserved_gib_max_rank") * GiB : undefined,
    };
  });
}
