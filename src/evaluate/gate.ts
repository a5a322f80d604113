import type { Text } from "../base/index.ts";
import type { Comparison } from "./compare.ts";
import type { Retention } from "./retention.ts";

/** What a checkpoint must show to pass. Shares are fractions: 0.05 is five points or five per cent. */
export type GatePolicy = {
  /** Fewer items than this prove nothing, whatever the interval says. */
  readonly minimumItems: number;
  /** The difference's lower limit must lie above this. */
  readonly minimumEffect: number;
  /** An interval around zero refuses only if an effect of this size would have shown; otherwise it is inconclusive. */
  readonly worthwhileEffect: number;
  /** Perplexity on general text may grow by at most this fraction. */
  readonly retentionMargin: number;
};

export const DEFAULT_POLICY: GatePolicy = {
  minimumItems: 100,
  minimumEffect: 0,
  worthwhileEffect: 0.05,
  retentionMargin: 0.05,
};

export type GateVerdict = "passed" | "refused" | "inconclusive";
export const GATE_REASONS = {
  improved: { en: "the whole interval lies above the bar", zh: "整個區間都在門檻之上" },
  worse: { en: "the whole interval lies below zero", zh: "整個區間都在零以下" },
  noEffect: {
    en: "the interval reaches the bar, and a worthwhile effect would have shown",
    zh: "區間觸及門檻，而有價值的效果本應顯現",
  },
  underPowered: {
    en: "the interval reaches the bar, and these items could not have shown a worthwhile effect",
    zh: "區間觸及門檻，但這些題目不足以顯示有價值的效果",
  },
  tooFew: { en: "too few items", zh: "題目太少" },
  missing: { en: "not measured", zh: "未測量" },
  kept: { en: "the whole interval lies within the margin", zh: "整個區間都在容許範圍內" },
  degraded: { en: "the whole interval lies beyond the margin", zh: "整個區間都超出容許範圍" },
  unclear: { en: "the interval reaches beyond the margin", zh: "區間有一部分超出容許範圍" },
} as const satisfies Record<string, Text>;
export type GateReason = keyof typeof GATE_REASONS;

export type GateCheck = {
  readonly name: "effect" | "retention";
  readonly verdict: GateVerdict;
  readonly reason: GateReason;
};
export type Gate = {
  readonly verdict: GateVerdict;
  readonly checks: readonly GateCheck[];
  readonly policy: GatePolicy;
};

/**
 * The rule that lets a checkpoint pass. It fails closed: only two clear yeses pass; one clear no refuses; anything missing or
 * too weak to tell is inconclusive, which does not pass either.
 */
export function decideGate(
  comparison: Comparison | null,
  retention: Retention | null,
  policy: GatePolicy = DEFAULT_POLICY,
): Gate {
  const checks = [effectCheck(comparison, policy), retentionCheck(retention, policy)];
  const verdict: GateVerdict = checks.some((check) => check.verdict === "refused")
    ? "refused"
    : checks.every((check) => check.verdict === "passed")
      ? "passed"
      : "inconclusive";
  return { verdict, checks, policy };
}

function effectCheck(comparison: Comparison | null, policy: GatePolicy): GateCheck {
  const check = (verdict: GateVerdict, reason: GateReason): GateCheck => ({
    name: "effect",
    verdict,
    reason,
  });
  if (!comparison) return check("inconclusive", "missing");
  const { n, difference, detectable } = comparison.overall;
  if (![difference.low, difference.high, detectable].every(Number.isFinite))
    return check("inconclusive", "missing");
  if (difference.high < 0) return check("refused", "worse");
  if (n < policy.minimumItems) return check("inconclusive", "tooFew");
  if (difference.low > policy.minimumEffect) return check("passed", "improved");
  return detectable <= policy.worthwhileEffect
    ? check("refused", "noEffect")
    : check("inconclusive", "underPowered");
}

function retentionCheck(retention: Retention | null, policy: GatePolicy): GateCheck {
  const check = (verdict: GateVerdict, reason: GateReason): GateCheck => ({
    name: "retention",
    verdict,
    reason,
  });
  if (!retention || Number.isNaN(retention.ratio.low) || Number.isNaN(retention.ratio.high)) {
    return check("inconclusive", "missing");
  }
  const limit = 1 + policy.retentionMargin;
  if (retention.ratio.high <= limit) return check("passed", "kept");
  return retention.ratio.low > limit ? check("refused", "degraded") : check("inconclusive", "unclear");
}
