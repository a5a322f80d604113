import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
let folder = "";
const config = {
  model_type: "llama",
  hidden_size: 2048,
  num_hidden_layers: 8,
  num_attention_heads: 16,
  num_key_value_heads: 8,
  intermediate_size: 8192,
  vocab_size: 32000,
  max_position_embeddings: 8192,
  tie_word_embeddings: false,
};

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "planner-"));
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function tessera(args: readonly string[], input = "") {
  const run = spawnSync(process.execPath, [join(ROOT, "bin/tessera.mjs"), ...args, "--lang", "en"], {
    cwd: folder,
    input,
    encoding: "utf8",
    timeout: 170_000,
  });
  return { code: run.status, out: run.stdout, err: run.stderr };
}

test("plan answers in pictures and in one JSON document", () => {
  const asked = ["plan", "--model", "config.json", "--cluster", "h100:16", "--batch", "64"];
  const text = tessera(asked);
  expect(text.code).toBe(0);
  for (const part of ["Why", "The puzzle", "Where the step goes", "MFU"]) expect(text.out).toContain(part);
  const json = tessera([...asked, "--json", "--fallback", "1"]);
  const plan = JSON.parse(json.out);
  expect(plan.memory.classOf).toHaveLength(16);
  expect(plan.why.some((line: { en: string }) => line.en.includes("fullest stage"))).toBe(true);
  expect(plan.fallbacks[0].seconds).toBeGreaterThanOrEqual(plan.time.seconds);
  expect(plan.schema).toBe("tessera.plan/v1");
  expect(plan.memory.classes.length).toBeGreaterThan(0);
  const sum = Object.values(plan.time.breakdown as Record<string, number>).reduce((a, b) => a + b, 0);
  expect(sum).toBeCloseTo(plan.time.seconds, 9);
});

test("recorded loads decide time, memory and what balancing would win", () => {
  const moe = {
    ...config,
    model_type: "qwen3_moe",
    moe_intermediate_size: 1024,
    num_experts: 16,
    num_experts_per_tok: 2,
  };
  writeFileSync(join(folder, "moe.json"), JSON.stringify(moe));
  const row = (hot: number) => Array.from({ length: 16 }, (_, e) => (e === hot ? 40 : 10));
  const write = (rows: number[][]) => writeFileSync(join(folder, "loads.json"), JSON.stringify(rows));
  const asked = ["plan", "--model", "moe.json", "--cluster", "h100:16", "--ep", "8", "--what-if", "--json"];
  const even = JSON.parse(tessera(asked).out);
  expect(even.routed).toBeUndefined();
  write([row(0), row(0)]);
  const hot = JSON.parse(tessera([...asked, "--loads", "loads.json"]).out);
  // 50 tokens of 190 on one of eight ranks.
  expect(hot.routed.slowest).toBeCloseTo((50 * 8) / 190, 9);
  expect(hot.routed.bytes.p99).toBeGreaterThan(hot.routed.bytes.p50);
  expect(hot.time.seconds).toBeGreaterThan(even.time.seconds);
  const balanced = hot.whatIfs.find(({ change }: { change: string }) => change === "balance");
  expect(balanced.seconds).toBeCloseTo(even.time.seconds, 9);
  write([row(0).slice(1)]);
  const wrong = tessera([...asked, "--loads", "loads.json"]);
  expect(wrong.code).not.toBe(0);
  expect(wrong.out + wrong.err).toContain("PLAN_LOADS");
});

test("a recipe is planned for this machine, or for the cluster that is named", () => {
  const recipe = join(ROOT, "examples/operations-research/recipe.yaml");
  const here = JSON.parse(tessera(["plan", recipe, "--json"]).out);
  expect(here.layout).toMatchObject({ pp: 2, ep: 2, dpShard: 2, zero: 3 });
  expect(here.training).toMatchObject({ sequence: 256, globalBatch: 16 });
  const there = JSON.parse(tessera(["plan", recipe, "--cluster", "cpu:4", "--batch", "32", "--json"]).out);
  expect(there.training.globalBatch).toBe(32);
  // More devices than the recipe's layout names go to data parallelism.
  const eight = JSON.parse(tessera(["plan", recipe, "--cluster", "cpu:8", "--json"]).out);
  expect(eight.layout).toMatchObject({ pp: 2, ep: 2, dpShard: 4 });
  const faulty = join(folder, "faulty.yaml");
  writeFileSync(faulty, "name: x\nmodle: y\n");
  const refused = tessera(["plan", faulty, "--json"]);
  expect(refused.code).toBe(2);
  const places = JSON.parse(refused.out).all.map(({ place }: { place: object }) => place);
  expect(places).toContainEqual(expect.objectContaining({ file: faulty, line: 2 }));
  expect(refused.err).toContain(`${faulty}:2`);
});

test("a well-known model needs no file", () => {
  const plan = JSON.parse(
    tessera(["plan", "--model", "qwen3-30b-a3b", "--cluster", "h100:16", "--json"]).out,
  );
  expect(plan.time.seconds).toBeGreaterThan(0);
  const unknown = tessera(["plan", "--model", "qwen3-30b", "--cluster", "h100:16"]);
  expect(unknown.code).toBe(2);
  expect(unknown.err).toContain("Qwen3-30B-A3B");
});

test("an export goes to standard output alone", () => {
  const run = tessera([
    "plan",
    "--model",
    folder,
    "--cluster",
    "h100:16",
    "--batch",
    "64",
    "--schedules",
    "1f1b",
    "--export",
    "megatron",
  ]);
  expect(run.code).toBe(0);
  expect(run.out.startsWith("--tensor-model-parallel-size")).toBe(true);
});

test("estimate takes many cases and tells bad ones apart", () => {
  const good = {
    name: "a",
    model: "config.json",
    cluster: "h100:8",
    layout: { tp: 2 },
    training: { sequence: 4096, globalBatch: 32 },
  };
  writeFileSync(
    join(folder, "cases.json"),
    JSON.stringify([good, { ...good, layout: { tp: 3 } }, { ...good, oops: 1 }]),
  );
  const run = tessera(["estimate", "cases.json", "--json"]);
  const { results, schema } = JSON.parse(run.out);
  expect(schema).toBe("tessera.estimate/v1");
  expect(results.map((r: { ok: boolean }) => r.ok)).toEqual([true, false, false]);
  expect(results[2].error.code).toBe("ESTIMATE_CASE");
  expect(run.code).toBe(2);
  const one = tessera(["estimate", "--json"], JSON.stringify({ ...good, model: config }));
  expect(JSON.parse(one.out).results[0].time.seconds).toBeGreaterThan(0);
});

test("a fault in a case's model or cluster names the case, the key and the line", () => {
  const good = { cluster: "h100:8", training: { sequence: 4096, globalBatch: 32 } };
  const list = [
    { ...good, model: "llama-3.1-8b" },
    { ...good, model: "nowhere.json" },
    { ...good, model: { model_type: "qwen9" } },
    { ...good, model: { ...config, hidden_size: -1 } },
    { ...good, model: "llama-3.1-8b", cluster: { groups: [{ device: "h100", nodes: 0 }] } },
  ];
  writeFileSync(join(folder, "faults.json"), JSON.stringify(list, null, 1));
  const run = tessera(["estimate", "faults.json", "--json"]);
  const { results } = JSON.parse(run.out);
  expect(results.map((r: { ok: boolean }) => r.ok)).toEqual([true, false, false, false, false]);
  const lineOf = (text: string) => 1 + JSON.stringify(list, null, 1).split(text)[0]!.split("\n").length - 1;
  const told = results
    .slice(1)
    .map(({ error }: { error: { code: string; message: { en: string }; place: { line: number } } }) => [
      error.code,
      error.message.en.slice(0, 15),
      error.place.line,
    ]);
  expect(told).toEqual([
    ["PLAN_NO_FILE", "case 1, model: ", lineOf('"nowhere.json"')],
    ["MODEL_TYPE_UNKNOWN", "case 2, model: ", lineOf('"qwen9"') - 1],
    ["MODEL_FIELD_INVALID", "case 3, model: ", lineOf('"hidden_size": -1')],
    ["CLUSTER_EMPTY", "case 4, cluster", lineOf('"nodes": 0')],
  ]);
  // The verb has no such option.
  expect(run.err).not.toContain("--model");
});

test("what a plan exports for a stack is estimated as it was planned", () => {
  const asked = ["plan", "--model", "config.json", "--cluster", "h100:16", "--batch", "64", "--json"];
  const { settings, name } = JSON.parse(tessera([...asked, "--export", "megatron"]).out);
  writeFileSync(join(folder, "launch.txt"), settings);
  const given = {
    model: "config.json",
    cluster: "h100:16",
    settings: { target: "megatron", file: "launch.txt" },
  };
  writeFileSync(join(folder, "launch.json"), JSON.stringify(given));
  const { results } = JSON.parse(tessera(["estimate", "launch.json", "--json"]).out);
  expect(results[0].layoutName).toBe(name);
  expect(results[0].fits).toBe(true);
});

test("estimate prints the schema of its cases in both languages", () => {
  const told = JSON.parse(tessera(["estimate", "--schema"]).out);
  expect(Object.keys(told.$defs.case.properties)).toContain("override");
  const document = JSON.parse(tessera(["estimate", "--schema", "--json"]).out);
  expect(document.schema).toBe("tessera.case-schema/v1");
  expect(document.document).toEqual(told);
});

test("the documentation names every key of a case", () => {
  const { $defs } = JSON.parse(tessera(["estimate", "--schema"]).out);
  type Schema = { properties?: Record<string, Schema>; anyOf?: Schema[] };
  const keys = (one: Schema): string[] => [
    ...Object.entries(one.properties ?? {}).flatMap(([name, inner]) => [name, ...keys(inner)]),
    ...(one.anyOf ?? []).flatMap(keys),
  ];
  for (const lang of ["en", "zh"]) {
    const text = readFileSync(join(ROOT, `docs/${lang}/planner.md`), "utf8");
    const missing = keys($defs.case).filter((name) => !new RegExp(`[\`."]${name}[\`"]`).test(text));
    expect(missing).toEqual([]);
  }
});

test("bad input says what, where and what next", () => {
  writeFileSync(join(folder, "zero.yaml"), "groups:\n  - device: h100\n    nodes: 0\n");
  const zero = tessera(["plan", "--model", "config.json", "--cluster", "zero.yaml"]);
  expect(zero.code).toBe(2);
  expect(zero.err).toContain("CLUSTER_EMPTY");
  expect(zero.err).toMatch(/zero\.yaml:3/);
  writeFileSync(
    join(folder, "bits.yaml"),
    "groups:\n  - device: h100\n    nodes: 1\n    links:\n      - { span: 8, bandwidthGBs: 400000000000 }\n",
  );
  expect(tessera(["plan", "--model", "config.json", "--cluster", "bits.yaml"]).err).toMatch(
    /CLUSTER_RANGE[\s\S]*bits\.yaml:5/,
  );
  expect(tessera(["plan", "--model", "none.json", "--cluster", "h100:8"]).err).toContain("PLAN_NO_FILE");
  expect(tessera(["plan", "--model", "config.json", "--cluster", "h100:9"]).err).toContain("CLUSTER_DEVICES");
  const full = tessera([
    "plan",
    "--model",
    "config.json",
    "--cluster",
    "910b4:1",
    "--batch",
    "7",
    "--precision",
    "fp32",
    "--sequence",
    "131072",
  ]);
  expect(full.code).toBe(5);
  expect(full.err).toMatch(/PLAN_NO_ROOM|PLAN_NO_LAYOUT/);
});

test("the example of the documentation runs as it stands", () => {
  for (const lang of ["en", "zh"]) {
    const text = readFileSync(join(ROOT, `docs/${lang}/planner.md`), "utf8");
    const example = /```json\n([\s\S]*?)```/.exec(text)?.[1] as string;
    const run = spawnSync(process.execPath, [join(ROOT, "bin/tessera.mjs"), "estimate", "--json"], {
      cwd: ROOT,
      input: example,
      encoding: "utf8",
      timeout: 80_000,
    });
    expect(run.stderr).toBe("");
    const { results } = JSON.parse(run.stdout);
    expect(results.map((r: { ok: boolean }) => r.ok)).toEqual([true, true, true]);
    for (const { peak, memory, time } of results) {
      expect(memory.classOf.length).toBe(memory.world);
      expect(peak.reserved).toBeGreaterThan(0);
      expect(time.seconds).toBeGreaterThan(0);
    }
  }
});

test("a case that is wrong is told by file, line and what is allowed", () => {
  const cases = (layout: string) =>
    `- name: good\n  model: config.json\n  cluster: h100:8\n  training: { sequence: 4096, globalBatch: 32 }\n- name: bad\n  model: config.json\n  cluster: h100:8\n  layout:\n    ${layout}\n  training: { sequence: 4096, globalBatch: 32 }\n`;
  const told = (layout: string) => {
    writeFileSync(join(folder, "cases.yaml"), cases(layout));
    const run = tessera(["estimate", "cases.yaml"]);
    expect(run.code).toBe(2);
    expect(run.out).toContain("good");
    return run.err;
  };
  expect(told("schedule: zigzag")).toMatch(/ESTIMATE_CASE[\s\S]*one of gpipe[\s\S]*cases\.yaml:9/);
  expect(told("data_parallel: 2")).toMatch(/unknown key; known: pp[\s\S]*cases\.yaml:9/);
  expect(told("DpShard: 2")).toContain("did you mean 'dpShard'?");
  expect(told("recompute: [norm, everything]")).toMatch(/recompute\[1\][\s\S]*cases\.yaml:9/);
  expect(told("offload: { optimizer: 2 }")).toMatch(/number from 0 to 1/);
  expect(told("stages: [3, 4]")).toMatch(/pp x vpp needs 1/);
  expect(told("tp: 3")).toMatch(/does not divide the 8 devices/);
  expect(told("{ tp: 8, pp: 2 }")).toMatch(/does not divide the 8 devices/);
  expect(told("{ ep: 2 }")).toMatch(/PLAN_ILLEGAL[\s\S]*no experts/);
});

test("models that cannot be read say what is wrong with them", () => {
  const told = (change: Record<string, unknown>) => {
    writeFileSync(join(folder, "other.json"), JSON.stringify({ ...config, ...change }, null, 2));
    const run = tessera(["plan", "--model", "other.json", "--cluster", "h100:8"]);
    expect(run.code).toBe(2);
    return run.err;
  };
  expect(told({ model_type: "qwen9_moe" })).toMatch(/MODEL_TYPE_UNKNOWN[\s\S]*qwen3_moe/);
  expect(told({ hidden_size: undefined })).toMatch(/MODEL_FIELD_MISSING[\s\S]*hidden_size[\s\S]*other\.json/);
  expect(told({ num_key_value_heads: 3 })).toMatch(/MODEL_CONTRADICTION[\s\S]*other\.json:6/);
  expect(told({ num_hidden_layers: -1 })).toMatch(/MODEL_FIELD_INVALID[\s\S]*other\.json:4/);
});

test("clusters with slips of units and absurd numbers are refused with their line", () => {
  const told = (yaml: string) => {
    writeFileSync(join(folder, "cluster.yaml"), yaml);
    const run = tessera(["plan", "--model", "config.json", "--cluster", "cluster.yaml"]);
    expect(run.code).toBe(2);
    return run.err;
  };
  const node = "groups:\n  - device: h100\n    nodes: 2\n    links:\n";
  expect(told(`${node}      - { span: 8, bandwidthGBs: "450 GB/s" }\n`)).toMatch(
    /CLUSTER_SHAPE[\s\S]*yaml:5/,
  );
  expect(told(`${node}      - { span: 8, bandwidthGbps: 3600 }\n`)).toMatch(/bandwidthGBs[\s\S]*yaml:5/);
  expect(told(`${node}      - { span: 8, bandwidthGBs: 1000000 }\n`)).toMatch(/CLUSTER_RANGE[\s\S]*yaml:5/);
  expect(told("groups:\n  - device: { preset: h100, memoryGiB: 81920 }\n    nodes: 1\n")).toMatch(
    /CLUSTER_RANGE[\s\S]*yaml:2/,
  );
  expect(told("groups:\n  - { device: h100, nodes: 1 }\n  - { device: a100, nodes: 1 }\n")).toMatch(
    /how they are connected/,
  );
  expect(told("groups: [\n")).toMatch(/PLAN_YAML[\s\S]*yaml:2/);
});

test("options out of range are refused by name", () => {
  const told = (...more: string[]) => {
    const run = tessera(["plan", "--model", "config.json", "--cluster", "h100:8", "--batch", "32", ...more]);
    expect(run.code).toBe(2);
    return run.err;
  };
  expect(told("--imbalance", "much")).toContain("PLAN_RATIO");
  expect(told("--margin", "7")).toContain("PLAN_RATIO");
  expect(told("--schedules", "1f1b,zigzag")).toMatch(/PLAN_NAME[\s\S]*interleaved1f1b/);
  expect(told("--tp", "0")).toContain("PLAN_NUMBER");
  expect(told("--swap", "perhaps")).toContain("perhaps");
});

test("says by how much nothing fits, and what would", () => {
  const big = {
    ...config,
    num_hidden_layers: 80,
    hidden_size: 8192,
    num_attention_heads: 64,
    intermediate_size: 28672,
  };
  writeFileSync(join(folder, "big.json"), JSON.stringify(big));
  const run = tessera([
    "plan",
    "--model",
    "big.json",
    "--cluster",
    "910b4:8",
    "--batch",
    "64",
    "--swap",
    "no",
  ]);
  expect(run.code).toBe(5);
  expect(run.err).toMatch(/PLAN_NO_ROOM[\s\S]*short by at least [\d.]+ GiB/);
  const devices = Number(/fits on (\d+) devices/.exec(run.err)?.[1]);
  const more = tessera([
    "plan",
    "--model",
    "big.json",
    "--cluster",
    `910b4:${devices}`,
    "--batch",
    "64",
    "--swap",
    "no",
    "--json",
  ]);
  expect(more.code).toBe(0);
});

test("why-not lists what bound the layouts asked about", () => {
  const asked = [
    "plan",
    "--model",
    "config.json",
    "--cluster",
    "h100:16",
    "--batch",
    "64",
    "--why-not",
    "TP2 MB4",
  ];
  const { whyNot } = JSON.parse(tessera([...asked, "--json"]).out);
  expect(whyNot.length).toBeGreaterThan(0);
  for (const { name, text } of whyNot) {
    expect(name).toContain("TP2");
    expect(name).toContain("MB4");
    expect(text.en.length).toBeGreaterThan(5);
  }
  expect(tessera(asked).out).toContain("bound by");
});
