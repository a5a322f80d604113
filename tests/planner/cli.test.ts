import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
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
  expect(plan.schema).toBe("tessera.plan/v1");
  expect(plan.memory.classes.length).toBeGreaterThan(0);
  const sum = Object.values(plan.time.breakdown as Record<string, number>).reduce((a, b) => a + b, 0);
  expect(sum).toBeCloseTo(plan.time.seconds, 9);
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
  expect(tessera(["plan", "--model", "config.json", "--cluster", "h100:9"]).err).toContain("PLAN_CLUSTER");
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
