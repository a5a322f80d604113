import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  type Evaluation,
  type Item,
  type Outcome,
  orFamilyNames,
  readJsonl,
} from "../../../evaluate/index.ts";
import { same } from "../html.ts";
import type { Example, ReportInput } from "../types.ts";
import { readJson } from "./json.ts";

/** Answers in a report at most; those that turned, and those still wrong, go before those that were right both times. */
const EXAMPLES = 400;

/** The evaluation of a folder written by `measure`, with the answers to read; null when it was not measured. */
export function readEvaluation(folder: string): ReportInput["evaluation"] {
  const json = readJson(join(folder, "evaluation.json"));
  if (json?.["schema"] !== "tessera.eval/v1") return null;
  const result = json as unknown as Evaluation;
  return {
    result,
    examples: readExamples(folder),
    names: { en: same("English"), zh: same("中文"), ...orFamilyNames() },
  };
}

function readExamples(folder: string): Example[] {
  const read = <T extends { readonly id: string }>(name: string): Map<string, T> => {
    const path = join(folder, name);
    const records = existsSync(path) ? readJsonl(path, (value) => value as unknown as T) : [];
    return new Map(records.map((record) => [record.id, record]));
  };
  const base = read<Outcome>("base.outcomes.jsonl");
  const candidate = read<Outcome>("candidate.outcomes.jsonl");
  const answer = ({ text, verdict, reason, objective }: Outcome) => ({ text, verdict, reason, objective });
  const examples = [...read<Item>("items.jsonl").values()].flatMap((item): Example[] => {
    const before = base.get(item.id);
    const after = candidate.get(item.id);
    if (!before || !after) return [];
    const { id, family, language, difficulty, problem, reference, objective } = item;
    return [
      {
        id,
        family,
        language,
        difficulty,
        problem,
        reference,
        objective,
        base: answer(before),
        candidate: answer(after),
      },
    ];
  });
  const dull = (example: Example) =>
    Number(example.base.verdict === "correct" && example.candidate.verdict === "correct");
  return examples.sort((a, b) => dull(a) - dull(b)).slice(0, EXAMPLES);
}
