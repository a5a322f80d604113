import { normalQuantile } from "./special.ts";

/** A number with the interval that covers the truth in `confidence` of all repetitions. */
export type Estimate = { readonly value: number; readonly low: number; readonly high: number };

/** Two-sided normal quantile of a confidence level: 0.95 -> 1.96. */
export const zOf = (confidence: number): number => normalQuantile(1 - (1 - confidence) / 2);

/**
 * Share of successes with Wilson's score interval (Wilson 1927), which stays inside [0, 1] and keeps its coverage with few items
 * or none correct, where the textbook interval collapses to a point.
 *
 * @example
 * wilson(81, 263).low; // 0.2553, Newcombe 1998, table I
 */
export function wilson(successes: number, n: number, confidence = 0.95): Estimate {
  if (!Number.isInteger(n) || n <= 0 || !Number.isInteger(successes) || successes < 0 || successes > n) {
    throw new RangeError(`${successes} of ${n} is not a share`);
  }
  const z2 = zOf(confidence) ** 2;
  const p = successes / n;
  const centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const half = Math.sqrt((z2 * p * (1 - p)) / n + (z2 * z2) / (4 * n * n)) / (1 + z2 / n);
  return {
    value: p,
    low: successes === 0 ? 0 : Math.max(0, centre - half),
    high: successes === n ? 1 : Math.min(1, centre + half),
  };
}
