/** The measured single-node cases of SimuMax's B200 release as models, clusters and layouts of ours. */
import { unwrap } from "../../src/base/index.ts";
import { type Cluster, type Device, presetCluster } from "../../src/cluster/index.ts";
import { BF16_MIXED, evenStages, type Layout, SINGLE, type Training } from "../../src/layout/layout.ts";
import { MEGATRON_TRAITS, TimeModel, type Traits } from "../../src/layout/time/index.ts";
import { importModel, type Model } from "../../src/model/index.ts";
import { readCsv, sharedFile } from "./shared.ts";

const llama = (layers: number, hidden: number, heads: number, width: number) => ({
  model_type: "llama",
  hidden_size: hidden,
  num_hidden_layers: layers,
  num_attention_heads: heads,
  num_key_value_heads: 8,
  intermediate_size: width,
  vocab_size: 128256,
  max_position_embeddings: 131072,
  tie_word_embeddings: false,
});
const deepseek = (
  type: string,
  hidden: number,
  experts: number,
  topK: number,
  width: number,
  dense: number,
  shared: number,
  vocab: number,
) => ({
  model_type: type,
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
  n_group: 8,
  topk_group: 3,
  moe_layer_freq: 1,
  vocab_size: vocab,
  max_position_embeddings: 163840,
  tie_word_embeddings: false,
});

const CONFIGS: Record<string, (layers: number) => unknown> = {
  "llama3-8b": (n) => llama(n, 4096, 32, 14336),
  "llama3-70b": (n) => llama(n, 8192, 64, 28672),
  "llama3-405b": (n) => llama(n, 16384, 128, 53248),
  deepseekv2: () => deepseek("deepseek_v2", 5120, 160, 6, 1536, 12288, 2, 102400),
  deepseekv3: () => deepseek("deepseek_v3", 7168, 256, 8, 2048, 18432, 1, 129280),
};

export type Case = {
  readonly name: string;
  readonly set: string;
  readonly model: Model;
  readonly layout: Layout;
  readonly training: Training;
  readonly seconds: number;
  readonly micros: number;
};

const models = new Map<string, Model>();

export function simumaxCases(): Case[] {
  return readCsv(sharedFile("simumax_cases.csv")).map((row) => {
    const n = (key: string) => Number(row[key]);
    const key = `${row["model"]}/${row["layers_kept"]}`;
    let model = models.get(key);
    if (!model) {
      model = unwrap(importModel(CONFIGS[row["model"] as string]?.(n("layers_kept"))));
      models.set(key, model);
    }
    const layout: Layout = {
      ...SINGLE,
      pp: n("pp"),
      vpp: n("vpp") || 1,
      tp: n("tp"),
      cp: n("cp"),
      dpShard: n("dp"),
      ep: n("ep"),
      schedule: n("vpp") > 1 ? "interleaved1f1b" : "1f1b",
      contextParallel: "ulysses",
      stages: evenStages(n("layers_kept"), n("pp") * (n("vpp") || 1)),
    };
    const training: Training = {
      sequence: n("seq_len"),
      microBatch: n("mbs"),
      globalBatch: n("gbs"),
      precision: BF16_MIXED,
      optimizer: "adamw",
      mtp: false,
    };
    return {
      name: row["case"] as string,
      set: row["set"] as string,
      model,
      layout,
      training,
      // Where only the error of the peer's throughput is published, its own time gives the measured one.
      seconds:
        (row["real_ms"] ? n("real_ms") : (n("pred_ms") * n("pred_tflops_gpu")) / n("real_tflops_gpu")) / 1000,
      micros: n("microbatches"),
    };
  });
}

/** Everything serial, as these cases were run. */
export const SERIAL: Traits = { ...MEGATRON_TRAITS, overlapData: false, overlapPipeline: false };

export function node(
  device: (base: Device) => Device,
  links?: Cluster["groups"][0]["links"],
  seconds?: number,
): Cluster {
  const base = presetCluster("b200", 8) as Cluster;
  const group = base.groups[0] as Cluster["groups"][0];
  return {
    ...base,
    collectiveSeconds: seconds ?? base.collectiveSeconds,
    groups: [{ ...group, device: device(group.device), links: links ?? group.links }],
  };
}

export const estimate = (c: Case, cluster: Cluster, traits = SERIAL) =>
  new TimeModel(c.model, cluster, c.training, traits).step(c.layout, true);
