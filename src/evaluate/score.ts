import { err, ok, type Result, type TesseraError } from "../base/index.ts";
import { fail } from "./errors.ts";
import {
  type Answer,
  type Checker,
  type Item,
  type Outcome,
  VERDICTS,
  type Verdict,
  type VerdictCounts,
} from "./types.ts";

/** First problem among the items: none at all, a repeated id, or an objective that is no number. */
export function itemsProblem(items: readonly Item[], file = "items"): TesseraError | undefined {
  if (items.length === 0) return fail("EVAL_NO_ITEMS", { file });
  const seen = new Set<string>();
  for (const item of items) {
    if (seen.has(item.id)) return fail("EVAL_DUPLICATE", { id: item.id, what: file });
    seen.add(item.id);
    if (item.objective !== null && !Number.isFinite(item.objective)) {
      return fail("EVAL_NUMBER", { what: `${item.id}: objective`, value: item.objective });
    }
  }
  return undefined;
}

/** Records by the order of the items: exactly one for each item and none beside, or an error that names the first that is off. */
export function alignToItems<T extends { readonly id: string }>(
  items: readonly Item[],
  records: readonly T[],
  what: string,
): Result<T[]> {
  const byId = new Map<string, T>();
  for (const record of records) {
    if (byId.has(record.id)) return err(fail("EVAL_DUPLICATE", { id: record.id, what }));
    byId.set(record.id, record);
  }
  const missing = items.filter((item) => !byId.has(item.id));
  const first = missing[0];
  if (first !== undefined) {
    return err(fail("EVAL_MISSING", { count: missing.length, total: items.length, what, id: first.id }));
  }
  if (byId.size > items.length) {
    const known = new Set(items.map((item) => item.id));
    const stranger = records.find((record) => !known.has(record.id));
    return err(fail("EVAL_UNKNOWN", { what, id: stranger?.id ?? "" }));
  }
  return ok(items.map((item) => byId.get(item.id) as T));
}

/** Every answer with its verdict, in the order of the items. */
export async function scoreAnswers(
  items: readonly Item[],
  answers: readonly Answer[],
  checker: Checker,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<Result<Outcome[]>> {
  const problem = itemsProblem(items);
  if (problem) return err(problem);
  const aligned = alignToItems(items, answers, "answers");
  if (!aligned.ok) return aligned;
  const outcomes: Outcome[] = [];
  for (const [i, item] of items.entries()) {
    const answer = aligned.value[i] as Answer;
    outcomes.push({ ...answer, ...(await checker(item, answer.text)) });
    onProgress(i + 1, items.length);
  }
  return ok(outcomes);
}

export function countVerdicts(outcomes: readonly { readonly verdict: Verdict }[]): VerdictCounts {
  const counts = Object.fromEntries(VERDICTS.map((verdict) => [verdict, 0])) as Record<Verdict, number>;
  for (const { verdict } of outcomes) counts[verdict]++;
  return counts;
}
