import { AnswerChecker, FAMILIES, type PoolOptions, promptOf } from "../domains/or/index.ts";
import type { Text } from "../base/index.ts";
import { numberField, readJsonl, textField } from "./jsonl.ts";
import type { Checker, Item } from "./types.ts";

/** The checker of operations research: an answer is an LP text, and it is solved. Close it when all answers are judged. */
export function orChecker(options: PoolOptions = {}): { checker: Checker; close: () => Promise<void> } {
  const solving = new AnswerChecker(options);
  const checker: Checker = async (item, text) => {
    const expected = { objective: item.objective ?? Number.NaN, status: item.status };
    const verdict = await solving.check(text, expected);
    const objective = "objective" in verdict && Number.isFinite(verdict.objective) ? verdict.objective : null;
    return {
      verdict: verdict.verdict,
      reason: verdict.verdict === "correct" ? "" : verdict.reason,
      objective,
    };
  };
  return { checker, close: () => solving.close() };
}

/** Held-out samples of the data's way (`heldout.jsonl`) as items to measure with; at most `count` of them, taken evenly. */
export function readOrItems(path: string, count = Number.POSITIVE_INFINITY): Item[] {
  const items = readJsonl(path, (sample): Item => {
    const problem = textField(sample, "problem");
    return {
      id: textField(sample, "id"),
      prompt: promptOf(problem),
      problem,
      reference: textField(sample, "answer"),
      family: textField(sample, "family"),
      language: textField(sample, "language"),
      difficulty: String(sample["difficulty"]),
      status: textField(sample, "status"),
      objective: numberField(sample, "objective"),
    };
  });
  if (items.length <= count) return items;
  return Array.from({ length: count }, (_, i) => items[Math.floor((i * items.length) / count)] as Item);
}

/** Names of families for a person, by the key that samples carry. */
export const orFamilyNames = (): Record<string, Text> =>
  Object.fromEntries(FAMILIES.map((family) => [family.name, family.title]));
