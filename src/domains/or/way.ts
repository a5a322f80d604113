import { basename } from "node:path";
import { hashJson } from "../../base/node.ts";
import {
  findDuplicates,
  findLeaks,
  generalText,
  produceGeneral,
  type Sample,
  screenByClass,
  selectMix,
  SPECIAL_TOKENS,
  type StepOutput,
  tally,
  Tokenizer,
  toLines,
  trainTokenizer,
} from "../../data/index.ts";
import { encodeSample, packDataset, tokenizerFiles } from "./pack.ts";
import { draftAt, gateDrafts, type Progress, type Unproven } from "./produce.ts";
import type { DataPart } from "./recipe.ts";
import { Solver } from "./solver.ts";

/**
 * The eight steps of the operations-research data, in order. Each says from which steps it reads, which parameters make its identity, and how its
 * files come about; `pipeline.ts` runs them.
 */
export const STEP_NAMES = [
  "produce",
  "gate",
  "dedup",
  "decontaminate",
  "classify",
  "tokenizer",
  "select",
  "pack",
] as const;
export type StepName = (typeof STEP_NAMES)[number];

/** What a step sees: its parameters and the rows and folders of the steps before. */
export type Source = {
  readonly part: DataPart;
  rows<T>(step: StepName, file: string): T[];
  folder(step: StepName): string;
};

/** A sample as `select` hands it on: its side, and the step folders (hash of code, parameters and inputs each) that it came through. */
export type Selected = Sample & { readonly split: "train" | "heldout"; readonly lineage: readonly string[] };

export type Step = {
  readonly name: StepName;
  readonly from: (part: DataPart) => readonly StepName[];
  readonly parameters: (part: DataPart) => unknown;
  /** Hashes of inputs from outside the data folder. */
  readonly outside?: (part: DataPart) => Readonly<Record<string, string>>;
  readonly work: (source: Source, report: Progress) => Promise<StepOutput> | StepOutput;
};

const making = ({ seed, families, difficulties, chinese, retellings }: DataPart) => ({
  seed,
  families,
  difficulties,
  chinese,
  retellings,
});

const produce: Step = {
  name: "produce",
  from: () => [],
  parameters: (part) => ({ ...making(part), drafts: part.drafts }),
  work: ({ part }, report) => {
    const drafts = Array.from({ length: part.drafts }, (_unused, index) => draftAt(index, making(part)));
    report(part.drafts, part.drafts);
    return { files: { "drafts.jsonl": toLines(drafts) }, counts: { in: part.drafts, out: drafts.length } };
  },
};

const gate: Step = {
  name: "gate",
  from: () => ["produce"],
  parameters: () => ({}),
  work: async ({ rows }, report) => {
    const drafts = rows<Unproven>("produce", "drafts.jsonl");
    const { accepted, rejected } = await gateDrafts(drafts, await Solver.open(), report);
    return {
      files: { "samples.jsonl": toLines(accepted), ...fallen(rejected) },
      ...sum(drafts.length, accepted.length, rejected),
    };
  },
};

const dedup: Step = {
  name: "dedup",
  from: () => ["gate"],
  parameters: (part) => part.dedup,
  work: ({ part, rows }) => {
    const samples = rows<Sample>("gate", "samples.jsonl");
    const dropped = findDuplicates(
      samples.map(({ id, problem }) => ({ id, text: problem })),
      part.dedup,
    );
    // Exact duplicates share their id, so what is left out is found by place, not by name.
    const gone = new Set(dropped.map(({ at }) => at));
    const left = samples.filter((_sample, i) => !gone.has(i));
    return {
      files: { "samples.jsonl": toLines(left), ...fallen(dropped) },
      ...sum(samples.length, left.length, dropped),
    };
  },
};

/** Parameters, not texts, decide the side, so every wording of one task is on the same side. */
const isHeldout = ({ parametersHash }: Sample, every: number): boolean =>
  Number.parseInt(parametersHash.slice(0, 8), 16) % every === 0;

const decontaminate: Step = {
  name: "decontaminate",
  from: () => ["dedup"],
  parameters: (part) => ({ ...part.decontaminate, heldoutEvery: part.heldoutEvery }),
  work: ({ part, rows }) => {
    const samples = rows<Sample>("dedup", "samples.jsonl");
    const heldout = samples.filter((sample) => isHeldout(sample, part.heldoutEvery));
    const train = samples.filter((sample) => !isHeldout(sample, part.heldoutEvery));
    const leaks = findLeaks(train, heldout, part.decontaminate);
    const gone = new Set(leaks.map(({ id }) => id));
    const left = train.filter(({ id }) => !gone.has(id));
    return both(samples.length, left, heldout, leaks);
  },
};

const classify: Step = {
  name: "classify",
  from: () => ["decontaminate"],
  parameters: () => ({}),
  work: ({ rows }) => {
    const train = rows<Sample>("decontaminate", "train.jsonl");
    const heldout = rows<Sample>("decontaminate", "heldout.jsonl");
    const { kept, dropped, accuracy } = screenByClass(train, heldout);
    const output = both(train.length + heldout.length, kept, heldout, dropped);
    return { ...output, files: { ...output.files, "accuracy.json": `${JSON.stringify(accuracy)}\n` } };
  },
};

const tokenizer: Step = {
  name: "tokenizer",
  from: ({ tokenizer: given }) => (given === undefined ? ["classify"] : []),
  parameters: ({ tokenizer: given, vocabularySize, seed }) =>
    given === undefined ? { vocabularySize, seed } : {},
  outside: ({ tokenizer: given }) =>
    given === undefined ? {} : { given: hashJson(Tokenizer.load(given).vocabulary) },
  work: ({ part, rows }) => {
    if (part.tokenizer !== undefined) return tokenizerFiles(Tokenizer.load(part.tokenizer));
    const texts = rows<Sample>("classify", "train.jsonl").map(
      ({ problem, answer }) => `${problem}\n${answer}`,
    );
    const general = produceGeneral({ seed: part.seed, count: texts.length, split: "train" }).map(generalText);
    return tokenizerFiles(
      trainTokenizer([...texts, ...general], {
        vocabularySize: part.vocabularySize,
        special: SPECIAL_TOKENS,
      }),
    );
  },
};

const select: Step = {
  name: "select",
  from: () => ["classify", "tokenizer"],
  parameters: ({ mix, train, heldout, seed, sequenceLength }) => ({
    mix,
    train,
    heldout,
    seed,
    sequenceLength,
  }),
  work: ({ part, rows, folder }) => {
    const loaded = Tokenizer.load(folder("tokenizer"));
    const train = rows<Sample>("classify", "train.jsonl");
    const heldout = rows<Sample>("classify", "heldout.jsonl");
    const all = [...train, ...heldout];
    const fitting = new Set(
      all
        .filter((sample) => encodeSample(sample, loaded).tokens.length <= part.sequenceLength)
        .map(({ id }) => id),
    );
    const fits = ({ id }: Sample) => fitting.has(id);
    const taken = selectMix(train.filter(fits), part.train, part.mix, part.seed);
    const test = selectMix(heldout.filter(fits), part.heldout, part.mix, part.seed);
    const left = new Set([...taken.chosen, ...test.chosen].map(({ id }) => id));
    const dropped = all
      .filter(({ id }) => !left.has(id))
      .map((sample) => ({ id: sample.id, reason: fits(sample) ? "over-quota" : "too-long" }));
    const lineage = STEP_NAMES.slice(0, STEP_NAMES.indexOf("select")).map((name) => basename(folder(name)));
    const mark = (samples: readonly Sample[], split: Selected["split"]): Selected[] =>
      samples.map((sample) => ({ ...sample, split, lineage }));
    const output = both(all.length, mark(taken.chosen, "train"), mark(test.chosen, "heldout"), dropped);
    return {
      ...output,
      files: {
        ...output.files,
        "cells.json": `${JSON.stringify({ train: taken.cells, heldout: test.cells })}\n`,
      },
    };
  },
};

const pack: Step = {
  name: "pack",
  from: () => ["select", "tokenizer"],
  parameters: ({ sequenceLength, replay, retention, seed }) => ({ sequenceLength, replay, retention, seed }),
  work: ({ part, rows, folder }) =>
    packDataset(rows<Sample>("select", "train.jsonl"), Tokenizer.load(folder("tokenizer")), part),
};

export const WAY: readonly Step[] = [produce, gate, dedup, decontaminate, classify, tokenizer, select, pack];

type Dropped = readonly { readonly reason: string }[];
const fallen = (dropped: Dropped) => ({ "dropped.jsonl": toLines(dropped) });
const sum = (before: number, after: number, dropped: Dropped) => ({
  counts: { in: before, out: after },
  reasons: tally(dropped.map(({ reason }) => reason)),
});

function both(
  before: number,
  train: readonly Sample[],
  heldout: readonly Sample[],
  dropped: Dropped,
): StepOutput {
  const { counts, reasons } = sum(before, train.length + heldout.length, dropped);
  return {
    files: { "train.jsonl": toLines(train), "heldout.jsonl": toLines(heldout), ...fallen(dropped) },
    counts: { ...counts, train: train.length, heldout: heldout.length },
    reasons,
  };
}
