import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { renderError, say, TesseraError, unwrap } from "../../src/base/index.ts";
import { planRequest } from "../../src/cli/verbs/plan.ts";
import { plan } from "../../src/layout/index.ts";

/**
 * What people get wrong about models, clusters and degrees, as `tessera plan` reads it from real files. Every row must be refused with
 * its code, the line that is wrong where there is one, the next step, and in both languages.
 */
const folder = mkdtempSync(join(tmpdir(), "bad-input-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const LLAMA = {
  model_type: "llama",
  hidden_size: 2048,
  num_hidden_layers: 8,
  num_attention_heads: 16,
  num_key_value_heads: 8,
  intermediate_size: 8192,
  vocab_size: 32000,
};
const V3 = {
  model_type: "deepseek_v3",
  hidden_size: 1024,
  num_hidden_layers: 8,
  first_k_dense_replace: 1,
  num_attention_heads: 16,
  q_lora_rank: 256,
  kv_lora_rank: 128,
  qk_nope_head_dim: 64,
  qk_rope_head_dim: 32,
  v_head_dim: 64,
  intermediate_size: 4096,
  moe_intermediate_size: 512,
  n_routed_experts: 32,
  num_experts_per_tok: 4,
  n_group: 4,
  topk_group: 2,
  vocab_size: 32000,
};
const DEFAULTS = {
  sequence: "4096",
  batch: "64",
  engine: "megatron",
  precision: "bf16",
  optimizer: "adamw",
  mtp: true,
  fallback: "0",
  whatIf: false,
  open: false,
  top: "4",
} as const;

function refused(model: unknown, cluster: string, options: object = {}): TesseraError {
  writeFileSync(
    join(folder, "config.json"),
    typeof model === "string" ? model : JSON.stringify(model, null, 1),
  );
  const file = cluster.includes("\n");
  if (file) writeFileSync(join(folder, "cluster.yaml"), cluster);
  try {
    const request = planRequest(folder, {
      ...DEFAULTS,
      model: "config.json",
      cluster: file ? "cluster.yaml" : cluster,
      ...options,
    });
    unwrap(plan(request));
  } catch (cause) {
    if (cause instanceof TesseraError) return cause;
    throw cause;
  }
  throw new Error("it was taken");
}

/** Words that no Chinese sentence holds: a text that was left in English would show some of them. */
const ENGLISH = /\b(the|is|are|must|not|has|with|expected|missing|needs?|only|for example)\b/;
/** These hand on what the parser of JSON or YAML says, which is English. */
const PARSERS = new Set(["MODEL_NOT_JSON", "PLAN_YAML"]);

function complete(error: TesseraError, code: string, words: RegExp, place: string): void {
  const en = renderError(error, "en");
  expect(en).toMatch(words);
  expect(error.code).toBe(code);
  if (place) expect(en).toContain(place);
  const zh = say(error.entry.message, "zh", error.params);
  expect(zh).toMatch(/[\u4e00-\u9fff]/);
  if (!PARSERS.has(code)) expect(zh).not.toMatch(ENGLISH);
  expect(`${en}${zh}`).not.toMatch(/undefined|\{\w+\}/);
  expect(error.entry.next).toBeDefined();
  expect([2, 5]).toContain(error.entry.exit);
}

const FIELDS: readonly (readonly [string, unknown, string, RegExp])[] = [
  ["num_hidden_layers", 0, "MODEL_FIELD_INVALID", /positive integer/],
  ["num_hidden_layers", -1, "MODEL_FIELD_INVALID", /positive integer/],
  ["num_hidden_layers", 1.5, "MODEL_FIELD_INVALID", /positive integer/],
  ["num_hidden_layers", "8", "MODEL_FIELD_INVALID", /is "8"/],
  ["num_hidden_layers", 1e9, "MODEL_FIELD_INVALID", /at most 10000/],
  ["hidden_size", 1e15, "MODEL_FIELD_INVALID", /at most/],
  ["hidden_size", {}, "MODEL_FIELD_INVALID", /positive integer/],
  ["intermediate_size", -4, "MODEL_FIELD_INVALID", /positive integer/],
  ["vocab_size", 0, "MODEL_FIELD_INVALID", /positive integer/],
  ["head_dim", "64", "MODEL_FIELD_INVALID", /positive integer/],
  ["tie_word_embeddings", "yes", "MODEL_FIELD_INVALID", /true or false/],
  ["sliding_window", -5, "MODEL_FIELD_INVALID", /positive integer/],
  ["layer_types", "full", "MODEL_FIELD_INVALID", /list of strings/],
  ["layer_types", Array.from({ length: 8 }, () => "wide"), "MODEL_FIELD_INVALID", /sliding_attention/],
  ["layer_types", ["full_attention"], "MODEL_CONTRADICTION", /1 entries for 8 layers/],
  ["num_attention_heads", 3, "MODEL_CONTRADICTION", /not a multiple/],
  ["num_key_value_heads", 5, "MODEL_CONTRADICTION", /not a multiple/],
  ["quantization_config", "fp8", "MODEL_FIELD_INVALID", /an object/],
  ["torch_dtype", 5, "MODEL_FIELD_INVALID", /a string/],
];
test.each(FIELDS)("a config with %s = %j", (field, value, code, words) => {
  const config = { ...LLAMA, [field]: value };
  complete(refused(config, "h100:8"), code, words, `config.json:${lineOf(config, field)}:`);
});

const EXPERTS: readonly (readonly [string, unknown, string, RegExp])[] = [
  ["n_routed_experts", 3, "MODEL_CONTRADICTION", /4 experts per token, but only 3/],
  ["n_routed_experts", 1e9, "MODEL_FIELD_INVALID", /at most 65536/],
  ["num_experts_per_tok", 0, "MODEL_FIELD_INVALID", /positive integer/],
  ["n_group", 5, "MODEL_CONTRADICTION", /32 experts do not divide into 5 groups/],
  ["topk_group", 9, "MODEL_CONTRADICTION", /only 4 groups/],
  ["moe_layer_freq", [1, 0], "MODEL_CONTRADICTION", /2 entries for 8 layers/],
  ["mlp_layer_types", Array.from({ length: 8 }, () => "foo"), "MODEL_FIELD_INVALID", /dense or sparse/],
  ["num_nextn_predict_layers", -1, "MODEL_FIELD_INVALID", /not negative/],
];
test.each(EXPERTS)("a mixture with %s = %j", (field, value, code, words) => {
  const config = { ...V3, [field]: value };
  const at = code === "MODEL_CONTRADICTION" && field === "n_routed_experts" ? "num_experts_per_tok" : field;
  complete(refused(config, "h100:8"), code, words, `config.json:${lineOf(config, at)}:`);
});

const lineOf = (config: object, field: string): number => Object.keys(config).indexOf(field) + 2;

const TEXTS: readonly (readonly [string, string, string, RegExp, string])[] = [
  ["nothing", "", "MODEL_NOT_JSON", /not valid JSON/, "config.json:1"],
  ["a broken line", '{\n "model_type": }', "MODEL_NOT_JSON", /not valid JSON/, "config.json:2"],
  ["a list", "[]", "MODEL_NOT_OBJECT", /not a JSON object/, "config.json"],
  ["no type", "{}", "MODEL_FIELD_MISSING", /model_type/, "config.json"],
  ["no width", '{\n "model_type": "llama"\n}', "MODEL_FIELD_MISSING", /hidden_size/, "config.json:2"],
  [
    "a slip",
    '{\n "model_type": "qwen3_mo"\n}',
    "MODEL_TYPE_UNKNOWN",
    /did you mean qwen3_moe/,
    "config.json:2",
  ],
  ["no language model", '{ "model_type": "resnet" }', "MODEL_TYPE_UNKNOWN", /resnet/, "config.json:1"],
  [
    "a name of JavaScript",
    '{ "model_type": "__proto__" }',
    "MODEL_TYPE_UNKNOWN",
    /__proto__/,
    "config.json:1",
  ],
];
test.each(TEXTS)("a config that holds %s", (_what, text, code, words, place) => {
  complete(refused(text, "h100:8"), code, words, place);
});

const group = (text: string) => `groups:\n  - { ${text} }\n`;
const links = (text: string) => group(`device: h100, nodes: 2, links: [{ span: 8, ${text} }]`);
const CLUSTERS: readonly (readonly [string, string, RegExp, string])[] = [
  ["h100:0", "CLUSTER_NAME", /h100:0/, ""],
  ["h100", "PLAN_CLUSTER", /neither a cluster file/, ""],
  ["h100:9", "CLUSTER_DEVICES", /whole nodes of 8/, ""],
  ["h101:8", "CLUSTER_PRESET", /h101/, ""],
  ["h100:8+a101:8", "CLUSTER_PRESET", /a101/, ""],
  ["h100:99999999", "CLUSTER_RANGE", /1048576/, ""],
  ["groups: []\n", "CLUSTER_EMPTY", /at least one/, "cluster.yaml:1"],
  ["groups: 5\n", "CLUSTER_SHAPE", /must be a list/, "cluster.yaml:1"],
  ["groups: *x\n", "PLAN_YAML", /alias/i, "cluster.yaml:1"],
  ["groups: [\n", "PLAN_YAML", /cannot be read/, "cluster.yaml:2"],
  [group("device: h100"), "CLUSTER_SHAPE", /nodes: is missing/, "cluster.yaml:2"],
  [group("device: h100, nodes: 0"), "CLUSTER_EMPTY", /is 0/, "cluster.yaml:2"],
  [group("device: h100, nodes: -1"), "CLUSTER_EMPTY", /is -1/, "cluster.yaml:2"],
  [group('device: h100, nodes: "2"'), "CLUSTER_SHAPE", /whole number/, "cluster.yaml:2"],
  [group("device: h100, nodes: 1000000"), "CLUSTER_RANGE", /8000000 devices/, "cluster.yaml:2"],
  [group("device: h100, nodes: 1, devicesPerNode: 0"), "CLUSTER_EMPTY", /is 0/, "cluster.yaml:2"],
  [group("device: h100, node: 1"), "CLUSTER_SHAPE", /did you mean 'nodes'/, "cluster.yaml:2"],
  [group("device: { memoryGiB: 80 }, nodes: 1"), "CLUSTER_SHAPE", /bf16Tflops: is missing/, "cluster.yaml:2"],
  [group("device: { preset: h100, memoryGiB: 81920 }, nodes: 1"), "CLUSTER_RANGE", /GiB/, "cluster.yaml:2"],
  [
    group("device: { preset: h100, memoryBandwidthGBs: 3.35 }, nodes: 1"),
    "CLUSTER_SHAPE",
    /another unit/,
    "cluster.yaml:2",
  ],
  [
    group("device: { preset: h100, efficiency: { gemm: 70 } }, nodes: 1"),
    "CLUSTER_RANGE",
    /gemm/,
    "cluster.yaml:2",
  ],
  [links("bandwidthGBs: 0"), "CLUSTER_RANGE", /bandwidthGBs = 0/, "cluster.yaml:2"],
  [links("bandwidthGBs: 450000000000"), "CLUSTER_RANGE", /20000 GB/, "cluster.yaml:2"],
  [links("bandwidthGBs: .nan"), "CLUSTER_RANGE", /NaN/, "cluster.yaml:2"],
  [links('bandwidthGBs: "450 GB/s"'), "CLUSTER_SHAPE", /unit is part of the key/, "cluster.yaml:2"],
  [
    links("bandwidthGBs: 450 }, { span: 4, bandwidthGBs: 50"),
    "CLUSTER_LEVELS",
    /levels must grow/,
    "cluster.yaml:2",
  ],
  [
    `${group("device: h100, nodes: 1")}  - { device: a100, nodes: 1 }\n`,
    "CLUSTER_SHAPE",
    /how they are connected/,
    "cluster.yaml",
  ],
  [group("device: h100, nodes: 1, profile: none.yaml"), "PLAN_NO_FILE", /none\.yaml/, "cluster.yaml"],
];
test.each(CLUSTERS)("the cluster %j", (cluster, code, words, place) => {
  complete(refused(LLAMA, cluster), code, words, place);
});

const DEGREES: readonly (readonly [object, object, string, RegExp])[] = [
  [LLAMA, { tp: "3" }, "PLAN_NO_LAYOUT", /tp 3 does not divide 8 devices/],
  [LLAMA, { pp: "16" }, "PLAN_NO_LAYOUT", /pp 16 does not divide 8 devices/],
  [LLAMA, { ep: "8" }, "PLAN_NO_LAYOUT", /no experts to spread/],
  [V3, { ep: "5" }, "PLAN_NO_LAYOUT", /ep 5 does not divide 32 experts/],
  [V3, { cp: "8", sequence: "4100" }, "PLAN_NO_LAYOUT", /sequence 4100/],
  [V3, { engine: "tessera", tp: "2" }, "PLAN_NO_LAYOUT", /tessera engine/],
  [LLAMA, { microBatch: "3" }, "PLAN_NO_LAYOUT", /micro-batch 3/],
  [LLAMA, { tp: "1,x" }, "PLAN_NUMBER", /--tp/],
  [LLAMA, { batch: "64,32" }, "PLAN_NUMBER", /--batch takes a whole number/],
  [LLAMA, { sequence: "0" }, "PLAN_NUMBER", /--sequence/],
  [LLAMA, { imbalance: "0.5" }, "PLAN_RATIO", /--imbalance/],
  [LLAMA, { schedules: "zigzag" }, "PLAN_NAME", /zigzag/],
];
test.each(DEGREES)("the degrees of %# are refused", (model, options, code, words) => {
  complete(refused(model, "h100:8", options), code, words, "");
});

test("a batch too small for a large cluster says so within seconds", () => {
  const began = process.threadCpuUsage();
  const error = refused(LLAMA, "h100:131072");
  complete(error, "PLAN_NO_LAYOUT", /global batch 64 is not a multiple/, "");
  expect(process.threadCpuUsage(began).user / 1e6).toBeLessThan(20);
});

test("a model that cannot fit anywhere says by how much, and that more would not help", () => {
  const wide = { ...LLAMA, hidden_size: 2 ** 20, num_attention_heads: 2 ** 13, num_key_value_heads: 2 ** 13 };
  const error = refused({ ...wide, intermediate_size: 2 ** 22 }, "910b4:8", { swap: "no" });
  complete(error, "PLAN_NO_ROOM_HERE", /short by at least [\d.]+ TiB/, "");
  expect(say(error.entry.next ?? { en: "", zh: "" }, "en", error.params)).toMatch(
    /it fits|neither 128 times/,
  );
});
