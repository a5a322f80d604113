import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { Random, unwrap } from "../../base/index.ts";
import { encodeTensors } from "../../data/index.ts";
import { parseModel } from "../../model/index.ts";
import type { WorkerLayout } from "../controller/spec.ts";
import { countHashed, foresee as foreseeFrom } from "./foresight.ts";
import type { Scanned } from "./scan.ts";

const folder = mkdtempSync(join(tmpdir(), "tessera-foresight-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const WORDS = 200;
const EXPERTS = 16;
const config = {
  model_type: "deepseek_v4",
  vocab_size: WORDS,
  hidden_size: 64,
  moe_intermediate_size: 32,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 1,
  head_dim: 32,
  q_lora_rank: 32,
  num_experts_per_tok: 2,
  n_routed_experts: EXPERTS,
  n_shared_experts: 1,
  layer_types: ["sliding_attention", "sliding_attention", "sliding_attention"],
  mlp_layer_types: ["hash_moe", "hash_moe", "moe"],
  sliding_window: 16,
  o_groups: 2,
  o_lora_rank: 16,
  index_n_heads: 2,
  index_head_dim: 16,
  index_topk: 4,
  hc_mult: 2,
  hc_sinkhorn_iters: 4,
  num_nextn_predict_layers: 0,
  max_position_embeddings: 256,
};
const layout: WorkerLayout = {
  pp: 1,
  vpp: 1,
  tp: 1,
  cp: 1,
  dpReplicate: 1,
  dpShard: 4,
  ep: 4,
  schedule: "1f1b",
  stages: [[0, 1, 2]],
  recompute: "none",
  slotsPerRank: null,
};

const random = new Random(5);
const tables = [0, 1].map(() => Int32Array.from({ length: WORDS * 2 }, () => random.int(0, EXPERTS - 1)));
// Few words make most of the text, as in any text.
const ids = Int32Array.from({ length: 4096 }, () => Math.floor(WORDS * random.next() ** 6));
const base = join(folder, "base");
const train = join(folder, "train.safetensors");
mkdirSync(base);
const table = (l: number) => ({ dtype: "I32" as const, shape: [WORDS, 2], data: tables[l] as Int32Array });
writeFileSync(
  join(base, "model.safetensors"),
  encodeTensors({ "model.layers.0.mlp.gate.tid2eid": table(0), "model.layers.1.ffn.gate.tid2eid": table(1) }),
);
writeFileSync(train, encodeTensors({ input_ids: { dtype: "I32", shape: [64, 64], data: ids } }));
const model = unwrap(parseModel(JSON.stringify(config)));

const foresee = (of: typeof model, on: WorkerLayout, from: string, data: string, scanned?: Scanned) =>
  foreseeFrom(of, on, countHashed(of, from, data), scanned);

/** Busiest rank over the mean, counted token by token. */
function busiest(layer: number, slots: readonly number[]): number {
  const ranks = [0, 0, 0, 0];
  for (const id of ids) {
    for (const e of (tables[layer] as Int32Array).subarray(id * 2, id * 2 + 2)) {
      const rank = Math.floor(slots.indexOf(e) / 4);
      ranks[rank] = (ranks[rank] as number) + 1;
    }
  }
  return (Math.max(...ranks) * 4) / ranks.reduce((sum, n) => sum + n, 0);
}

test("experts of hash-routed layers are placed by what the data will send them", () => {
  const foreseen = foresee(model, layout, base, train);
  expect(foreseen?.layers.map((one) => one.layer)).toEqual([0, 1]);
  const inOrder = Array.from({ length: EXPERTS }, (_, e) => e);
  for (const { layer, before, after, bound } of foreseen?.layers ?? []) {
    const slots = foreseen?.placement[String(layer)] ?? [];
    expect([...slots].sort((a, b) => a - b)).toEqual(inOrder);
    expect(busiest(layer, inOrder)).toBeCloseTo(before, 9);
    expect(busiest(layer, slots)).toBeCloseTo(after, 9);
    expect(after).toBeLessThan(before);
    expect(after).toBeGreaterThanOrEqual(bound - 1e-9);
  }
  expect(foreseen?.line.en).toContain("4.10 K tokens counted");
  expect(foreseen?.line.en).not.toContain("scanned");
});

test("a scan places learned layers too; of hash-routed ones the count of all the data stands", () => {
  const row = Float64Array.from({ length: EXPERTS }, (_, e) => (e < 4 ? 100 : 1));
  const scanned = { tokens: 512, layers: [0, 2].map((id) => ({ id, row })) };
  const foreseen = foresee(model, layout, base, train, scanned);
  expect(foreseen?.layers.map((one) => one.layer)).toEqual([0, 1, 2]);
  expect(foreseen?.placement["0"]).toEqual(foresee(model, layout, base, train)?.placement["0"]);
  // The four busy experts stood on one rank; now each has a rank of its own.
  const slots = foreseen?.placement["2"] ?? [];
  expect([0, 1, 2, 3].map((e) => Math.floor(slots.indexOf(e) / 4)).toSorted()).toEqual([0, 1, 2, 3]);
  expect(foreseen?.line.en).toContain("4.10 K tokens counted and 512 tokens scanned");
  expect(foreseeFrom(model, layout, undefined, scanned)?.layers.map((one) => one.layer)).toEqual([0, 2]);
  const others = { tokens: 512, layers: [{ id: 2, row: row.subarray(1) }] };
  expect(foreseeFrom(model, layout, undefined, others)).toBeUndefined();
});

test("nothing is foreseen without tables, data, other ranks, or with copies", () => {
  expect(foresee(model, layout, folder, train)).toBeUndefined();
  expect(foresee(model, layout, base, join(folder, "none"))).toBeUndefined();
  expect(foresee(model, { ...layout, ep: 1 }, base, train)).toBeUndefined();
  expect(foresee(model, { ...layout, slotsPerRank: 5 }, base, train)).toBeUndefined();
  const whole = readFileSync(train);
  const broken = [
    Buffer.from("x"),
    Buffer.from("no tensors at all, whatever this is"),
    whole.subarray(0, 100),
    whole.subarray(0, whole.length - 1),
    Buffer.alloc(64),
  ];
  for (const bytes of broken) {
    writeFileSync(join(folder, "broken"), bytes);
    expect(foresee(model, layout, base, join(folder, "broken"))).toBeUndefined();
  }
  const other = join(folder, "other");
  mkdirSync(other);
  const wrong = { dtype: "I32" as const, shape: [WORDS, 2], data: new Int32Array(WORDS * 2).fill(99) };
  writeFileSync(
    join(other, "model.safetensors"),
    encodeTensors({ "model.layers.0.mlp.gate.tid2eid": wrong }),
  );
  expect(foresee(model, layout, other, train)).toBeUndefined();
});
