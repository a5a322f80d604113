import { join, resolve } from "node:path";
import {
  codeVersion,
  findDuplicates,
  findLeaks,
  generalText,
  type Manifest,
  produceGeneral,
  readLines,
  runStep,
  type Sample,
  screenByClass,
  selectMix,
  SPECIAL_TOKENS,
  type StepOutput,
  type StepResult,
  tally,
  Tokenizer,
  toLines,
  trainTokenizer,
} from "../../data/index.ts";
import { sha256File } from "../../base/node.ts";
import { encodeSample, packDataset, tokenizerFiles } from "./pack.ts";
import { draftAt, gateDrafts, type Progress, type Unproven } from "./produce.ts";
import type { DataPart } from "./recipe.ts";
import { Solver } from "./solver.ts";

/**
 * The whole way of the operations-research data, eight steps, each a content-addressed folder (`data/steps.ts`):
 * produce -> gate -> dedup -> decontaminate -> classify -> tokenizer -> select -> pack. Every step that takes samples out writes them with the
 * reason to `dropped.jsonl`, so the fate of any sample can be told (`why.ts`).
 */
export type StepName =
  | "produce"
  | "gate"
  | "dedup"
  | "decontaminate"
  | "classify"
  | "select"
  | "tokenizer"
  | "pack";
export type DataProgress = (event: {
  readonly step: StepName;
  readonly done: number;
  readonly of: number;
}) => void;

export type DataResult = {
  readonly steps: Readonly<Record<StepName, StepResult>>;
  /** Packed training rows: `input_ids`, `labels`, `segments`. */
  readonly train: string;
  /** Packed general text for the retention check. */
  readonly retention: string;
  /** Held-out problems, one canonical sample a line. */
  readonly heldout: string;
  readonly tokenizer: string;
  readonly funnel: readonly FunnelRow[];
};
export type FunnelRow = {
  readonly step: StepName;
  readonly in: number;
  readonly out: number;
  readonly reasons: Manifest["reasons"];
  readonly counts: Manifest["counts"];
};

const OWN_SOURCE = [resolve(import.meta.dirname, "../../data"), import.meta.dirname];
export const STEP_NAMES: readonly StepName[] = [
  "produce",
  "gate",
  "dedup",
  "decontaminate",
  "classify",
  "select",
  "tokenizer",
  "pack",
];

/** Runs or resumes every step under `folder`; finished ones are verified and reused. */
export async function runData(
  part: DataPart,
  folder: string,
  progress: DataProgress = () => {},
): Promise<DataResult> {
  const code = codeVersion(OWN_SOURCE);
  const done: Partial<Record<StepName, StepResult>> = {};
  const take = async (
    step: StepName,
    parameters: unknown,
    from: readonly StepName[],
    work: (report: Progress) => Promise<StepOutput> | StepOutput,
    more: Readonly<Record<string, string>> = {},
  ) => {
    const inputs = { ...Object.fromEntries(from.map((name) => [name, of(name).manifest.content])), ...more };
    const report: Progress = (count, total) => progress({ step, done: count, of: total });
    report(0, 1);
    done[step] = await runStep(folder, { step, code, parameters, inputs }, () => work(report));
    report(1, 1);
  };
  const of = (step: StepName): StepResult => {
    const result = done[step];
    if (!result) throw new Error(`step ${step} has not run`);
    return result;
  };
  const rows = <T>(step: StepName, file: string): T[] => readLines<T>(join(of(step).folder, file));

  const making = {
    seed: part.seed,
    families: part.families,
    difficulties: part.difficulties,
    chinese: part.chinese,
  };
  await take("produce", { ...making, drafts: part.drafts }, [], (report) => {
    const drafts = Array.from({ length: part.drafts }, (_unused, index) => draftAt(index, making));
    report(part.drafts, part.drafts);
    return { files: { "drafts.jsonl": toLines(drafts) }, counts: { in: part.drafts, out: drafts.length } };
  });

  await take("gate", {}, ["produce"], async (report) => {
    const drafts = rows<Unproven>("produce", "drafts.jsonl");
    const { accepted, rejected } = await gateDrafts(drafts, await Solver.open(), report);
    return {
      files: { "samples.jsonl": toLines(accepted), "dropped.jsonl": toLines(rejected) },
      counts: { in: drafts.length, out: accepted.length },
      reasons: tally(rejected.map(({ reason }) => reason)),
    };
  });

  await take("dedup", part.dedup, ["gate"], () => {
    const samples = rows<Sample>("gate", "samples.jsonl");
    const dropped = findDuplicates(
      samples.map(({ id, problem }) => ({ id, text: problem })),
      part.dedup,
    );
    // Exact duplicates share their id, so what is left out is found by place, not by name.
    const gone = new Set(dropped.map(({ at }) => at));
    return kept(
      samples,
      samples.filter((_sample, i) => !gone.has(i)),
      dropped,
    );
  });

  const splitting = { ...part.decontaminate, heldoutEvery: part.heldoutEvery };
  await take("decontaminate", splitting, ["dedup"], () => {
    const samples = rows<Sample>("dedup", "samples.jsonl");
    const isHeldout = ({ parametersHash }: Sample) =>
      Number.parseInt(parametersHash.slice(0, 8), 16) % part.heldoutEvery === 0;
    const heldout = samples.filter(isHeldout);
    const train = samples.filter((sample) => !isHeldout(sample));
    const leaks = findLeaks(train, heldout, part.decontaminate);
    const gone = new Set(leaks.map(({ id }) => id));
    const clean = train.filter(({ id }) => !gone.has(id));
    return {
      files: {
        "train.jsonl": toLines(clean),
        "heldout.jsonl": toLines(heldout),
        "dropped.jsonl": toLines(leaks),
      },
      counts: {
        in: samples.length,
        out: clean.length + heldout.length,
        train: clean.length,
        heldout: heldout.length,
      },
      reasons: tally(leaks.map(({ reason }) => reason)),
    };
  });

  await take("classify", {}, ["decontaminate"], () => {
    const train = rows<Sample>("decontaminate", "train.jsonl");
    const heldout = rows<Sample>("decontaminate", "heldout.jsonl");
    const { kept: left, dropped, accuracy } = screenByClass(train, heldout);
    return {
      files: {
        "train.jsonl": toLines(left),
        "heldout.jsonl": toLines(heldout),
        "dropped.jsonl": toLines(dropped),
        "accuracy.json": `${JSON.stringify(accuracy)}\n`,
      },
      counts: { in: train.length + heldout.length, out: left.length + heldout.length },
      reasons: tally(dropped.map(({ reason }) => reason)),
    };
  });

  const given = part.tokenizer;
  const tokenizing = given === undefined ? { vocabularySize: part.vocabularySize, seed: part.seed } : {};
  await take(
    "tokenizer",
    tokenizing,
    given === undefined ? ["classify"] : [],
    () => {
      if (given === undefined) {
        const texts = rows<Sample>("classify", "train.jsonl").map(
          ({ problem, answer }) => `${problem}\n${answer}`,
        );
        const general = produceGeneral({ seed: part.seed, count: texts.length, split: "train" }).map(
          generalText,
        );
        return tokenizerFiles(
          trainTokenizer([...texts, ...general], {
            vocabularySize: part.vocabularySize,
            special: SPECIAL_TOKENS,
          }),
        );
      }
      return tokenizerFiles(Tokenizer.load(given));
    },
    given === undefined ? {} : { given: sha256File(join(given, "tokenizer.json")) },
  );

  const choosing = {
    mix: part.mix,
    train: part.train,
    heldout: part.heldout,
    seed: part.seed,
    fit: part.sequenceLength,
  };
  await take("select", choosing, ["classify", "tokenizer"], () => {
    const tokenizer = Tokenizer.load(of("tokenizer").folder);
    const fits = (sample: Sample) => encodeSample(sample, tokenizer).tokens.length <= part.sequenceLength;
    const train = rows<Sample>("classify", "train.jsonl");
    const heldout = rows<Sample>("classify", "heldout.jsonl");
    const chosen = selectMix(train.filter(fits), part.train, part.mix, part.seed);
    const test = selectMix(heldout.filter(fits), part.heldout, part.mix, part.seed);
    const left = new Set([...chosen.chosen, ...test.chosen].map(({ id }) => id));
    const dropped = [...train, ...heldout]
      .filter(({ id }) => !left.has(id))
      .map((sample) => ({ id: sample.id, reason: fits(sample) ? "over-quota" : "too-long" }));
    return {
      files: {
        "train.jsonl": toLines(chosen.chosen),
        "heldout.jsonl": toLines(test.chosen),
        "cells.json": `${JSON.stringify({ train: chosen.cells, heldout: test.cells })}\n`,
        "dropped.jsonl": toLines(dropped),
      },
      counts: {
        in: train.length + heldout.length,
        out: left.size,
        train: chosen.chosen.length,
        heldout: test.chosen.length,
      },
      reasons: tally(dropped.map(({ reason }) => reason)),
    };
  });

  const packing = {
    sequenceLength: part.sequenceLength,
    replay: part.replay,
    retention: part.retention,
    seed: part.seed,
  };
  await take("pack", packing, ["select", "tokenizer"], () =>
    packDataset(rows<Sample>("select", "train.jsonl"), Tokenizer.load(of("tokenizer").folder), packing),
  );

  const steps = done as Record<StepName, StepResult>;
  return {
    steps,
    train: join(steps.pack.folder, "train.safetensors"),
    retention: join(steps.pack.folder, "retention.safetensors"),
    heldout: join(steps.select.folder, "heldout.jsonl"),
    tokenizer: steps.tokenizer.folder,
    funnel: STEP_NAMES.map((step) => {
      const { counts, reasons } = steps[step].manifest;
      return { step, in: counts["in"] ?? 0, out: counts["out"] ?? 0, reasons, counts };
    }),
  };
}

function kept(
  all: readonly Sample[],
  left: readonly Sample[],
  dropped: readonly { readonly reason: string }[],
): StepOutput {
  return {
    files: { "samples.jsonl": toLines(left), "dropped.jsonl": toLines(dropped) },
    counts: { in: all.length, out: left.length },
    reasons: tally(dropped.map(({ reason }) => reason)),
  };
}
