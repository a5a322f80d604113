import { expect, test } from "vitest";
import { type Cluster, presetCluster } from "../cluster/index.ts";
import { type PlanRequest, runSearch, searchAll } from "./plan.ts";
import { smallMixture, smallTraining } from "./testing/small.ts";
import { whyNot } from "./why-not.ts";

const request: PlanRequest = {
  model: smallMixture(8, 8),
  cluster: presetCluster("h100", 16) as Cluster,
  training: smallTraining(64),
  constraints: { engine: "megatron" },
};
const result = searchAll(request);
const best = result.found[0]?.time.seconds as number;

test("near misses are looked at one by one: their seconds are those of a search for them alone", () => {
  const { rows, total } = whyNot(request, result, "PP2 TP2 EP8 MB1");
  expect(total).toBeGreaterThanOrEqual(rows.length);
  expect(rows.length).toBeGreaterThan(10);
  const slower = rows.filter((row) => row.constraint === "slower");
  for (const row of slower) {
    expect(row.name).toMatch(/^PP2 .*TP2/);
    expect(row.amount).toBeGreaterThanOrEqual(best);
    expect(row.text.en).toMatch(/^slower: .* a step, \+/);
  }
  const plain = slower.find(({ name }) => name.endsWith(" MB1 1f1b"));
  const alone = runSearch({
    ...request,
    constraints: {
      engine: "megatron",
      pp: [2],
      tp: [2],
      ep: [8],
      microBatch: [1],
      schedules: ["1f1b"],
      recompute: [{ kind: "none" }],
      optimizerOffload: [0],
    },
  });
  expect(plain?.amount).toBe(alone.found[0]?.time.seconds);
});

test("a layout that lacks memory is said to lack what it really lacks, not what all of its kin lack", () => {
  const group = request.cluster.groups[0] as Cluster["groups"][0];
  const small: PlanRequest = {
    ...request,
    cluster: {
      ...request.cluster,
      groups: [{ ...group, device: { ...group.device, memoryBytes: 3 * 1024 ** 3 } }],
    },
  };
  const found = searchAll(small);
  const { rows } = whyNot(small, found, "PP1 EP8");
  const short = rows.filter(({ constraint }) => constraint === "memory");
  expect(new Set(short.map(({ amount }) => amount)).size).toBeGreaterThan(2);
  for (const { text } of short) expect(text.en).toMatch(/^device memory: short by [\d.]+ [MG]iB$/);
});

test("where nothing with the words is legal, the rule that it breaks", () => {
  const rules = (words: string) => whyNot(request, result, words).rows.map(({ text }) => text);
  expect(rules("PP3")).toEqual([
    { en: "device count: pp 3 does not divide 16 devices", zh: "加速器數量：pp 3 不能整除 16 個加速器" },
  ]);
  expect(rules("EP3")[0]?.en).toBe("experts do not divide: ep 3 does not divide 8 experts");
  expect(rules("nonsense")).toEqual([]);
});
