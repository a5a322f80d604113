import { expect, test } from "vitest";
import { unwrap } from "../base/index.ts";
import { estimate, type Estimate, readCase } from "./index.ts";

/**
 * Everything a case can say must move the estimate the way it moves a real run. A DeepSeek-V3-like model on 64 H100:
 * `less` and `more` name quantities that must fall or rise strictly when the change is applied to the base case.
 */
const model = {
  model_type: "deepseek_v3",
  num_hidden_layers: 16,
  num_nextn_predict_layers: 1,
  first_k_dense_replace: 1,
  hidden_size: 4096,
  num_attention_heads: 32,
  num_key_value_heads: 32,
  q_lora_rank: 1024,
  kv_lora_rank: 512,
  qk_nope_head_dim: 128,
  qk_rope_head_dim: 64,
  v_head_dim: 128,
  intermediate_size: 12288,
  moe_intermediate_size: 1536,
  n_routed_experts: 64,
  num_experts_per_tok: 6,
  n_shared_experts: 1,
  vocab_size: 129280,
  max_position_embeddings: 131072,
  tie_word_embeddings: false,
};
type Part = Record<string, unknown>;
type Change = {
  readonly layout?: Part;
  readonly training?: Part;
  readonly traits?: Part;
  readonly cluster?: unknown;
};

const BASE = {
  model,
  cluster: "h100:64",
  layout: { pp: 4, ep: 8, dpReplicate: 1, recompute: "none" } as Part,
  training: { sequence: 4096, globalBatch: 256, mtp: false, precision: "bf16" } as Part,
  traits: {} as Part,
};

function run(...changes: readonly Change[]): Estimate {
  let given: Omit<typeof BASE, "cluster"> & { cluster: unknown } = BASE;
  for (const change of changes) {
    given = {
      ...given,
      ...(change.cluster === undefined ? {} : { cluster: change.cluster }),
      layout: { ...given.layout, ...change.layout },
      training: { ...given.training, ...change.training },
      traits: { ...given.traits, ...change.traits },
    };
  }
  return estimate(unwrap(readCase(given)));
}

const worst = (e: Estimate) => e.memory.classes[e.memory.worst]?.memory;
const most = (e: Estimate, of: (memory: Estimate["memory"]["classes"][0]["memory"]) => number) =>
  Math.max(...e.memory.classes.map(({ memory }) => of(memory)));
const QUANTITIES: Readonly<Record<string, (e: Estimate) => number>> = {
  seconds: (e) => e.time.seconds,
  memory: (e) => e.peak.reserved,
  weights: (e) => most(e, (m) => m.bytes.weights),
  allWeights: (e) => e.memory.classes.reduce((sum, c) => sum + c.count * c.memory.bytes.weights, 0),
  gradients: (e) => most(e, (m) => m.bytes.gradients),
  optimizer: (e) => most(e, (m) => m.bytes.optimizer),
  activations: (e) => most(e, (m) => m.bytes.activations),
  gathered: (e) => most(e, (m) => m.bytes.unshard),
  host: (e) => most(e, (m) => m.host),
  spread: (e) => most(e, (m) => m.reserved) - Math.min(...e.memory.classes.map((c) => c.memory.reserved)),
  bubble: (e) => e.time.breakdown.bubble,
  recompute: (e) => e.time.breakdown.recompute,
  tensor: (e) => e.time.breakdown.tensor,
  context: (e) => e.time.breakdown.context,
  expert: (e) => e.time.breakdown.expert,
  data: (e) => e.time.breakdown.data,
  swap: (e) => e.time.breakdown.swap,
  optimizerTime: (e) => e.time.breakdown.optimizer,
  products: (e) => e.time.breakdown.matrix + e.time.breakdown.grouped,
  attention: (e) => e.time.breakdown.attention,
};
type Row = {
  readonly what: string;
  readonly from?: Change;
  readonly to: Change;
  readonly less?: readonly string[];
  readonly more?: readonly string[];
};
const recompute = (value: unknown): Change => ({ layout: { recompute: value } });
const long: Change = { training: { sequence: 32768, globalBatch: 64 } };

const ROWS: readonly Row[] = [
  {
    what: "tp cuts weights and activations, and talks",
    to: { layout: { tp: 2 } },
    less: ["weights", "activations"],
    more: ["tensor"],
  },
  {
    what: "sp cuts activations further",
    from: { layout: { tp: 4, sequenceParallel: false } },
    to: { layout: { sequenceParallel: true } },
    less: ["activations"],
  },
  {
    what: "cp by all-gather cuts activations, and talks",
    from: long,
    to: { layout: { cp: 4, contextParallel: "allGather" } },
    less: ["activations"],
    more: ["context"],
  },
  {
    what: "cp by Ulysses",
    from: long,
    to: { layout: { cp: 4, contextParallel: "ulysses" } },
    less: ["activations"],
    more: ["context"],
  },
  {
    what: "cp as a ring",
    from: long,
    to: { layout: { cp: 4, contextParallel: "ring" } },
    less: ["activations"],
    more: ["context"],
  },
  {
    what: "pp cuts weights, and idles",
    to: { layout: { pp: 8 } },
    less: ["weights"],
    more: ["bubble"],
  },
  {
    what: "a lopsided split is slower and less even",
    from: { layout: { stages: [4, 4, 4, 4] } },
    to: { layout: { stages: [7, 3, 3, 3] } },
    more: ["seconds", "spread"],
  },
  {
    what: "a split balanced by time, with embedding and head in view, is faster than an even one",
    from: { layout: { stages: [4, 4, 4, 4] } },
    to: { layout: { stages: undefined } },
    less: ["seconds"],
  },
  { what: "vpp narrows the bubble", to: { layout: { vpp: 2 } }, less: ["bubble"] },
  { what: "ep cuts weights, and talks", to: { layout: { ep: 16 } }, less: ["weights"], more: ["expert"] },
  {
    what: "etp cuts the experts' matrices",
    from: { layout: { tp: 2 } },
    to: { layout: { etp: 2 } },
    less: ["weights"],
  },
  {
    what: "replicas hold more state",
    from: { layout: { zero: 1 } },
    to: { layout: { dpReplicate: 2 } },
    more: ["optimizer"],
  },
  {
    what: "ZeRO-1 cuts states",
    from: { layout: { zero: 0 } },
    to: { layout: { zero: 1 } },
    less: ["optimizer"],
  },
  {
    what: "ZeRO-2 cuts gradients",
    from: { layout: { zero: 1 } },
    to: { layout: { zero: 2 } },
    less: ["gradients"],
  },
  {
    what: "ZeRO-3 cuts weights and gathers them",
    from: { layout: { zero: 2 } },
    to: { layout: { zero: 3 } },
    less: ["weights"],
    more: ["gathered", "data"],
  },
  {
    what: "FSDP2 that keeps weights gathers once",
    from: { layout: { zero: 3 } },
    to: { layout: { reshardAfterForward: false } },
    less: ["data"],
    more: ["gathered"],
  },
  {
    what: "1F1B keeps fewer micro-batches than GPipe",
    from: { layout: { schedule: "gpipe" } },
    to: { layout: { schedule: "1f1b" } },
    less: ["activations"],
  },
  { what: "ZB-H1 narrows the bubble", to: { layout: { schedule: "zbh1" } }, less: ["bubble"] },
  { what: "ZB-V narrows it and evens memory", to: { layout: { schedule: "zbv", vpp: 2 } }, less: ["bubble"] },
  {
    what: "DualPipeV hides expert exchange",
    to: { layout: { schedule: "dualpipev", vpp: 2 } },
    less: ["expert"],
  },
  {
    what: "full recompute trades time for memory",
    to: recompute("full"),
    less: ["activations"],
    more: ["recompute", "seconds"],
  },
  {
    what: "of some layers, less of both",
    from: recompute("full"),
    to: recompute({ kind: "full", layers: 2 }),
    less: ["recompute"],
    more: ["activations"],
  },
  ...[
    "coreAttention",
    "attention",
    "upProjection",
    "norm",
    "mlp",
    "moe",
    "moeActivation",
    "sharedExperts",
  ].map((region) => ({
    what: `recompute of ${region}`,
    to: recompute([region]),
    // Flash attention keeps next to nothing that its recomputation could save.
    less: region === "coreAttention" ? [] : ["activations"],
    more: ["recompute"],
  })),
  {
    what: "recompute of one stage only",
    to: { layout: { stageRecompute: ["full", "none", "none", "none"] } },
    less: ["activations"],
    more: ["recompute"],
  },
  {
    what: "activation offload",
    to: { layout: { offload: { activations: ["moeActivation"] } } },
    less: ["activations"],
    more: ["host"],
  },
  {
    what: "offload of what attention reads, which recomputing it does not free",
    from: recompute(["coreAttention"]),
    to: { layout: { offload: { activations: ["coreAttention"] } } },
    less: ["activations"],
    more: ["host"],
  },
  {
    what: "offload of more than the host's link takes beside the passes",
    to: { layout: { offload: { activations: ["attention", "moe", "mlp"] } } },
    less: ["activations"],
    more: ["host", "swap", "seconds"],
  },
  {
    what: "optimizer swap",
    to: { layout: { offload: { optimizer: 1 } } },
    less: ["optimizer"],
    more: ["host", "swap"],
  },
  {
    what: "half of it",
    from: { layout: { offload: { optimizer: 1 } } },
    to: { layout: { offload: { optimizer: 0.5 } } },
    less: ["host", "swap"],
    more: ["optimizer"],
  },
  { what: "fp8 products", to: { training: { precision: "fp8" } }, less: ["products"] },
  { what: "mxfp8 products", to: { training: { precision: "mxfp8" } }, less: ["products"] },
  {
    what: "fp4 products",
    from: { cluster: "b200:64" },
    to: { training: { precision: "fp4" } },
    less: ["products"],
  },
  { what: "fp8 weights", to: { training: { precision: "fp8-weights" } }, less: ["weights"] },
  { what: "fp4 experts", to: { training: { precision: { experts: "fp4" } } }, less: ["weights"] },
  { what: "no fp32 master", to: { training: { precision: { master: "none" } } }, less: ["optimizer"] },
  {
    what: "remainder as master",
    to: { training: { precision: { master: "remainder" } } },
    less: ["optimizer"],
  },
  { what: "bf16 gradients", to: { training: { precision: { gradients: "bfloat16" } } }, less: ["gradients"] },
  { what: "bf16 moments", to: { training: { precision: { moments: "bfloat16" } } }, less: ["optimizer"] },
  {
    what: "fp8 dispatch",
    from: { layout: { ep: 16 } },
    to: { training: { precision: { dispatch: "fp8" } } },
    less: ["expert"],
  },
  {
    what: "Muon keeps one moment, and computes more",
    to: { training: { optimizer: "muon" } },
    less: ["optimizer"],
    more: ["optimizerTime"],
  },
  { what: "SGD keeps none", to: { training: { optimizer: "sgd" } }, less: ["optimizer"] },
  {
    what: "a dispatcher that sends once to a rank",
    from: { layout: { ep: 16 } },
    to: { traits: { deduplicate: true } },
    less: ["expert"],
  },
  {
    what: "tokens that pick experts side by side",
    from: { layout: { ep: 16 }, traits: { deduplicate: true } },
    to: { traits: { consecutive: true } },
    less: ["expert"],
  },
  { what: "pages for what experts keep", to: { traits: { stash: true } }, more: ["seconds"] },
  {
    what: "experts that cast their own inputs",
    from: { training: { precision: "fp8" } },
    to: { traits: { fusedCasts: true } },
    less: ["seconds"],
  },
  { what: "a host slower than the device", to: { traits: { hostLayerSeconds: 0.2 } }, more: ["seconds"] },
  {
    what: "overlapped gradient exchange",
    from: { traits: { overlapData: false } },
    to: { traits: { overlapData: true } },
    less: ["data"],
  },
  {
    what: "overlapped pipeline sends",
    from: { traits: { overlapPipeline: false } },
    to: { traits: { overlapPipeline: true } },
    less: ["seconds"],
  },
  {
    what: "overlapped tensor exchange",
    from: { layout: { tp: 2 } },
    to: { traits: { overlapTensor: 0.5 } },
    less: ["tensor"],
  },
  { what: "overlapped expert exchange", to: { traits: { overlapExpert: 0.5 } }, less: ["expert"] },
  {
    what: "uneven experts cost time and memory",
    to: { traits: { imbalance: 1.5 } },
    more: ["seconds", "activations"],
  },
  {
    what: "a capacity factor bounds them",
    from: { traits: { imbalance: 2 } },
    to: { training: { capacityFactor: 1.1 } },
    less: ["activations"],
  },
  { what: "MTP adds a layer", to: { training: { mtp: true } }, more: ["seconds", "allWeights"] },
  {
    what: "longer sequences",
    from: { training: { globalBatch: 64 } },
    to: { training: { sequence: 8192 } },
    more: ["activations", "attention"],
  },
  { what: "larger micro-batches", to: { training: { microBatch: 2 } }, more: ["activations"] },
  { what: "slower links inside the node", to: { cluster: "h800:64" }, more: ["expert"] },
  { what: "half of the pipeline on slower devices", to: { cluster: "h100:32+a100:32" }, more: ["seconds"] },
];

test.each(ROWS)("$what", ({ from, to, less = [], more = [] }) => {
  const start = from ? [from] : [];
  const [before, after] = [run(...start), run(...start, to)];
  expect(worst(before)?.reserved).toBeGreaterThan(0);
  const of = (name: string, e: Estimate) => (QUANTITIES[name] as (e: Estimate) => number)(e);
  for (const name of less) expect(of(name, after), `${name} falls`).toBeLessThan(of(name, before));
  for (const name of more) expect(of(name, after), `${name} rises`).toBeGreaterThan(of(name, before));
});
