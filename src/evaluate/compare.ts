import { err, ok, type Result } from "../base/index.ts";
import { mcnemarExact, minimumDetectableEffect, pairedDifference } from "./paired.ts";
import { type Estimate, wilson } from "./proportion.ts";
import { alignToItems, countVerdicts, itemsProblem } from "./score.ts";
import type { Item, Outcome, VerdictCounts } from "./types.ts";

/** Base against candidate on one group of items; shares are pass@1 of one greedy answer each. */
export type Slice = {
  readonly key: string;
  readonly n: number;
  /** Share correct with Wilson's interval. */
  readonly base: Estimate;
  readonly candidate: Estimate;
  /** Candidate minus base on the same items, with Tango's paired score interval. */
  readonly difference: Estimate;
  readonly gained: number;
  readonly lost: number;
  /** Exact two-sided McNemar p. */
  readonly p: number;
  /** Smallest true difference these pairs would show with 80 % power, at the disagreement that was seen. */
  readonly detectable: number;
};

export const GROUPS = ["family", "language", "difficulty"] as const;
export type Group = (typeof GROUPS)[number];

export type Comparison = {
  readonly confidence: number;
  readonly overall: Slice;
  /** Same figures by group, keys sorted. Their intervals are not corrected for looking many times; the gate uses `overall` only. */
  readonly groups: { readonly [G in Group]: readonly Slice[] };
  readonly verdicts: { readonly base: VerdictCounts; readonly candidate: VerdictCounts };
  /** Ids whose verdict turned to correct, and away from it. */
  readonly flips: { readonly gained: readonly string[]; readonly lost: readonly string[] };
};

/** Compares two sets of outcomes on the same items; refuses sets that do not hold exactly the same ids. */
export function compareOutcomes(
  items: readonly Item[],
  base: readonly Outcome[],
  candidate: readonly Outcome[],
  confidence = 0.95,
): Result<Comparison> {
  const problem = itemsProblem(items);
  if (problem) return err(problem);
  const before = alignToItems(items, base, "outcomes of the base");
  if (!before.ok) return before;
  const after = alignToItems(items, candidate, "outcomes of the candidate");
  if (!after.ok) return after;
  const pairs = items.map((item, i) => ({
    item,
    base: before.value[i]?.verdict === "correct",
    candidate: after.value[i]?.verdict === "correct",
  }));
  const groups = Object.fromEntries(
    GROUPS.map((group) => {
      const keys = [...new Set(items.map((item) => item[group]))].sort(byNumberThenText);
      return [
        group,
        keys.map((key) =>
          slice(
            key,
            pairs.filter((pair) => pair.item[group] === key),
            confidence,
          ),
        ),
      ];
    }),
  ) as unknown as Comparison["groups"];
  const idsWhere = (from: boolean, to: boolean) =>
    pairs.filter((pair) => pair.base === from && pair.candidate === to).map((pair) => pair.item.id);
  return ok({
    confidence,
    overall: slice("all", pairs, confidence),
    groups,
    verdicts: { base: countVerdicts(before.value), candidate: countVerdicts(after.value) },
    flips: { gained: idsWhere(false, true), lost: idsWhere(true, false) },
  });
}

function slice(
  key: string,
  pairs: readonly { readonly base: boolean; readonly candidate: boolean }[],
  confidence: number,
): Slice {
  const n = pairs.length;
  const count = (test: (pair: { base: boolean; candidate: boolean }) => boolean) => pairs.filter(test).length;
  const gained = count((pair) => !pair.base && pair.candidate);
  const lost = count((pair) => pair.base && !pair.candidate);
  return {
    key,
    n,
    base: wilson(
      count((pair) => pair.base),
      n,
      confidence,
    ),
    candidate: wilson(
      count((pair) => pair.candidate),
      n,
      confidence,
    ),
    difference: pairedDifference({ n, gained, lost }, confidence),
    gained,
    lost,
    p: mcnemarExact(gained, lost),
    detectable: minimumDetectableEffect(n, (gained + lost) / n, { confidence }),
  };
}

const byNumberThenText = (a: string, b: string) =>
  a.localeCompare(b, "en", { numeric: true, sensitivity: "variant" });
