import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  NO_LOSS,
  readLines,
  readTensors,
  type Sample,
  type Tensor,
  Tokenizer,
  why,
} from "../../data/index.ts";
import { basePart, runBaseData } from "./base.ts";
import { promptOf } from "./format.ts";
import { type DataResult, runData } from "./pipeline.ts";
import { dataPart } from "./recipe.ts";
import type { Selected } from "./way.ts";

const folder = mkdtempSync(join(tmpdir(), "tessera-data-"));
const part = dataPart.parse({
  drafts: 700,
  train: 300,
  heldout: 40,
  retention: 40,
  heldoutEvery: 6,
  retellings: 0.3,
});
let result: DataResult;
beforeAll(async () => {
  result = await runData(part, folder);
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("every sample that went in is counted out or named in the funnel", () => {
  for (const { step, in: before, out, reasons } of result.funnel) {
    const gone = Object.values(reasons).reduce((sum, each) => sum + each, 0);
    expect(before - gone, step).toBe(out);
  }
  expect(result.funnel.map(({ step }) => step)).toEqual([
    "produce",
    "gate",
    "dedup",
    "decontaminate",
    "classify",
    "select",
    "pack",
  ]);
});

test("held-out and training problems share no parameters and no text", () => {
  const train = readLines<Sample>(join(result.steps.select.folder, "train.jsonl"));
  const heldout = readLines<Sample>(result.heldout);
  expect([train.length, heldout.length]).toEqual([300, 40]);
  expect(
    heldout.every(
      (sample) => (sample as Selected).split === "heldout" && (sample as Selected).lineage.length === 6,
    ),
  ).toBe(true);
  const seen = new Set(train.flatMap(({ parametersHash, problem, id }) => [parametersHash, problem, id]));
  expect(
    heldout.filter(({ parametersHash, problem, id }) =>
      [parametersHash, problem, id].some((each) => seen.has(each)),
    ),
  ).toEqual([]);
});

test("packed rows hold the problems with the loss on their answers", () => {
  const { tensors, metadata } = readTensors(result.train);
  const tokenizer = Tokenizer.load(result.tokenizer);
  const [rows, length] = (tensors["input_ids"] as Tensor).shape;
  if (length === undefined) throw new Error("no second dimension");
  expect(length).toBe(part.sequenceLength);
  expect(metadata["format"]).toBe("tessera.packed/v1");
  const byId = new Map(
    readLines<Sample>(join(result.steps.select.folder, "train.jsonl")).map((sample) => [sample.id, sample]),
  );
  const members = readLines<{ ids: string[] }>(join(result.steps.pack.folder, "members.jsonl"));
  expect(members.length).toBe(rows);
  let found = 0;
  members.forEach(({ ids }, row) => {
    ids.forEach((id, place) => {
      const sample = byId.get(id);
      if (!sample) return;
      found++;
      const at = Array.from({ length }, (_each, i) => row * length + i).filter(
        (i) => tensors["segments"]?.data[i] === place + 1,
      );
      expect(tokenizer.decode(at.map((i) => tensors["input_ids"]?.data[i] as number))).toBe(
        `${promptOf(sample.problem)}${sample.answer}<|end|>`,
      );
      const learned = at.map((i) => tensors["labels"]?.data[i] as number).filter((each) => each !== NO_LOSS);
      expect(tokenizer.decode(learned)).toBe(`${sample.answer}<|end|>`);
    });
  });
  expect(found).toBe(300);
});

test("running again redoes nothing; another parameter redoes only what depends on it", async () => {
  const again = await runData(part, folder);
  expect(Object.values(again.steps).every(({ reused }) => reused)).toBe(true);
  const longer = await runData({ ...part, sequenceLength: 320 }, folder);
  expect(
    Object.entries(longer.steps)
      .filter(([, { reused }]) => !reused)
      .map(([name]) => name),
  ).toEqual(["select", "pack"]);
  await runData(part, folder);
});

test("another folder gets the same bytes", async () => {
  const other = mkdtempSync(join(tmpdir(), "tessera-data-"));
  try {
    const twin = await runData(part, other);
    expect(Object.values(twin.steps).map(({ manifest }) => manifest)).toEqual(
      Object.values(result.steps).map(({ manifest }) => manifest),
    );
    expect(readFileSync(twin.train).equals(readFileSync(result.train))).toBe(true);
  } finally {
    rmSync(other, { recursive: true, force: true });
  }
}, 60_000);

test("why: a packed sample leads to its row, a rejected draft to its reason", () => {
  const sample = readLines<Sample>(join(result.steps.select.folder, "train.jsonl"))[0] as Sample;
  const fate = why(folder, sample.id);
  expect(fate.record).toMatchObject({ problem: sample.problem });
  expect(fate.steps.map(({ step, outcome }) => `${step} ${outcome}`)).toEqual([
    "produce kept",
    "gate kept",
    "dedup kept",
    "decontaminate kept",
    "classify kept",
    "tokenizer not-concerned",
    "select kept",
    "pack kept",
  ]);
  const last = fate.steps.at(-1);
  expect(last?.outcome === "kept" && last.row).toBeGreaterThanOrEqual(0);
  const [rejected] = readLines<{ origin: string; reason: string }>(
    join(result.steps.gate.folder, "dropped.jsonl"),
  );
  expect(rejected).toBeDefined();
  expect(why(folder, rejected?.origin ?? "").steps[1]).toMatchObject({
    outcome: "dropped",
    reason: rejected?.reason,
  });
});

test("base data: a tokenizer and rows of general text, no problem in them", async () => {
  const base = await runBaseData(
    basePart.parse({ documents: 300, tokenizerTexts: 200 }),
    join(folder, "base"),
  );
  const tokenizer = Tokenizer.load(base.tokenizer);
  const { tensors } = readTensors(base.train);
  const text = tokenizer.decode(tensors["input_ids"]?.data ?? []);
  expect(text).not.toMatch(/\nst\n/);
  expect(text).toMatch(/<\|bos\|>/);
  const withBase = await runData({ ...part, tokenizer: base.tokenizer }, folder);
  expect(readFileSync(join(withBase.tokenizer, "tokenizer.json"), "utf8")).toBe(
    readFileSync(join(base.tokenizer, "tokenizer.json"), "utf8"),
  );
}, 60_000);
