import { join, resolve } from "node:path";
import {
  codeVersion,
  type Manifest,
  readLines,
  runStep,
  type StepResult,
  writeIndex,
} from "../../data/index.ts";
import type { DataPart } from "./recipe.ts";
import { type Source, STEP_NAMES, type StepName, WAY } from "./way.ts";

/**
 * Runs the way of the data (`way.ts`), each step a content-addressed folder (`data/steps.ts`). Every step that takes samples out writes them
 * with the reason to `dropped.jsonl`, so that `why` of `data/why.ts` can tell the fate of any sample.
 */
export type DataProgress = (event: {
  readonly step: StepName;
  readonly done: number;
  readonly of: number;
  readonly reused: boolean;
}) => void;

export type DataResult = {
  readonly steps: Readonly<Record<StepName, StepResult>>;
  /** Packed training rows: `input_ids`, `labels`, `segments`. */
  readonly train: string;
  /** Packed general text for the retention check. */
  readonly retention: string;
  /** Held-out problems, one canonical sample a line. */
  readonly heldout: string;
  /** Folder with `tokenizer.json`. */
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

/** Runs or resumes every step under `folder`; finished ones are verified and reused. */
export async function runData(
  part: DataPart,
  folder: string,
  progress: DataProgress = () => {},
): Promise<DataResult> {
  const steps = (await runSteps(part, folder, "pack", progress)) as Record<StepName, StepResult>;
  return {
    steps,
    train: join(steps.pack.folder, "train.safetensors"),
    retention: join(steps.pack.folder, "retention.safetensors"),
    heldout: join(steps.select.folder, "heldout.jsonl"),
    tokenizer: steps.tokenizer.folder,
    funnel: funnelOf(STEP_NAMES.map((name) => steps[name].manifest)),
  };
}

/** What came into and out of every step, as the report shows it; steps that hold no samples are left out. */
export const funnelOf = (manifests: readonly Manifest[]): FunnelRow[] =>
  manifests
    .filter(({ counts }) => counts["in"] !== undefined)
    .map(({ step, counts, reasons }) => ({
      step: step as StepName,
      in: counts["in"] as number,
      out: counts["out"] ?? 0,
      reasons,
      counts,
    }));

const OWN_SOURCE = [resolve(import.meta.dirname, "../../data"), import.meta.dirname];

/** Runs or resumes the steps up to and with `until`, and notes in `data.json` which folders make up the data. */
export async function runSteps(
  part: DataPart,
  folder: string,
  until: StepName,
  progress: DataProgress = () => {},
): Promise<Partial<Record<StepName, StepResult>>> {
  // What is wrong with inputs from outside is said before any work is done.
  const outside = new Map(WAY.map((step) => [step.name, step.outside?.(part) ?? {}]));
  const code = codeVersion(OWN_SOURCE);
  const done: Partial<Record<StepName, StepResult>> = {};
  const of = (name: StepName): StepResult => {
    const result = done[name];
    if (!result) throw new Error(`step ${name} has not run`);
    return result;
  };
  const source: Source = {
    part,
    rows: (name, file) => readLines(join(of(name).folder, file)),
    folder: (name) => of(name).folder,
  };
  for (const step of WAY.slice(0, STEP_NAMES.indexOf(until) + 1)) {
    const before = Object.fromEntries(step.from(part).map((name) => [name, of(name).manifest.content]));
    const request = {
      step: step.name,
      code,
      parameters: step.parameters(part),
      inputs: { ...before, ...outside.get(step.name) },
    };
    progress({ step: step.name, done: 0, of: 1, reused: false });
    const result = await runStep(folder, request, () =>
      step.work(source, (count, total) =>
        progress({ step: step.name, done: count, of: total, reused: false }),
      ),
    );
    done[step.name] = result;
    progress({ step: step.name, done: 1, of: 1, reused: result.reused });
  }
  writeIndex(
    folder,
    Object.values(done).map(({ manifest }) => `${manifest.step}-${manifest.id}`),
  );
  return done;
}
