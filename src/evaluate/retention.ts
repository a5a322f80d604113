import { err, ok, type Result } from "../base/index.ts";
import { fail } from "./errors.ts";
import type { Estimate } from "./proportion.ts";
import { studentQuantile } from "./special.ts";

/** One row of general text under one model: summed negative log-likelihood (nats) over `tokens` predicted tokens. */
export type RowLoss = { readonly id: string; readonly nll: number; readonly tokens: number };

export type Retention = {
  readonly rows: number;
  readonly tokens: number;
  readonly basePerplexity: number;
  readonly candidatePerplexity: number;
  /** Candidate perplexity / base perplexity, with a paired interval; 1.03 means 3 % worse. */
  readonly ratio: Estimate;
};

/**
 * Perplexity of the same rows before and after. The logarithm of the ratio is a ratio estimator, sum of differences over sum of
 * tokens, so rows count by their tokens and stay whole (tokens of one text are not independent). Its standard error is the
 * linearised one (Cochran, Sampling Techniques, ch. 6) with Student's t on rows - 1; the test compares it with a paired bootstrap.
 */
export function compareRetention(
  base: readonly RowLoss[],
  candidate: readonly RowLoss[],
  confidence = 0.95,
): Result<Retention> {
  const after = new Map(candidate.map((row) => [row.id, row]));
  if (base.length === 0) return err(fail("EVAL_NO_ITEMS", { file: "retention rows" }));
  if (new Set(base.map((row) => row.id)).size < base.length || after.size < candidate.length) {
    return err(fail("EVAL_DUPLICATE", { id: "?", what: "retention rows" }));
  }
  const pairs: { before: RowLoss; after: RowLoss }[] = [];
  for (const row of base) {
    const other = after.get(row.id);
    if (!other) {
      return err(fail("EVAL_MISSING", { count: 1, total: base.length, what: "retention loss", id: row.id }));
    }
    for (const [what, value] of Object.entries({ before: row.nll, after: other.nll })) {
      if (!Number.isFinite(value))
        return err(fail("EVAL_NUMBER", { what: `${row.id}: loss ${what}`, value }));
    }
    if (!(row.tokens > 0) || row.tokens !== other.tokens) {
      return err(
        fail("EVAL_NUMBER", { what: `${row.id}: tokens`, value: `${row.tokens} / ${other.tokens}` }),
      );
    }
    pairs.push({ before: row, after: other });
  }
  if (after.size > base.length) {
    const known = new Set(base.map((row) => row.id));
    const stranger = candidate.find((row) => !known.has(row.id))?.id ?? "";
    return err(fail("EVAL_UNKNOWN", { what: "retention loss", id: stranger }));
  }
  const tokens = sum(pairs.map((pair) => pair.before.tokens));
  const baseNll = sum(pairs.map((pair) => pair.before.nll));
  const candidateNll = sum(pairs.map((pair) => pair.after.nll));
  const change = (candidateNll - baseNll) / tokens;
  const squares = sum(
    pairs.map((pair) => (pair.after.nll - pair.before.nll - change * pair.before.tokens) ** 2),
  );
  const n = pairs.length;
  // One row says nothing about spread: the interval is then everything.
  const half =
    n < 2
      ? Number.POSITIVE_INFINITY
      : (studentQuantile(1 - (1 - confidence) / 2, n - 1) * Math.sqrt((n / (n - 1)) * squares)) / tokens;
  return ok({
    rows: n,
    tokens,
    basePerplexity: Math.exp(baseNll / tokens),
    candidatePerplexity: Math.exp(candidateNll / tokens),
    ratio: { value: Math.exp(change), low: Math.exp(change - half), high: Math.exp(change + half) },
  });
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
