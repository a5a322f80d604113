import { type Estimate, zOf } from "./proportion.ts";
import { logGamma } from "./special.ts";

/** Two systems on the same items: `gained` only the candidate got right, `lost` only the base did; the rest agree. */
export type PairedCounts = { readonly n: number; readonly gained: number; readonly lost: number };

/**
 * Difference of two paired shares, candidate minus base, with Tango's score interval (Tango, Statistics in Medicine 1998).
 * It uses only what the pairs disagree on, needs no continuity correction, and keeps its coverage when few or none disagree
 * (Newcombe 1998 compares ten such intervals; Fagerland, Lydersen & Laake 2014 recommend this one).
 * The limits are where the score statistic equals -z and +z; it falls as the hypothetical difference grows, so bisection finds them.
 */
export function pairedDifference(counts: PairedCounts, confidence = 0.95): Estimate {
  const { n, gained, lost } = checked(counts);
  const z = zOf(confidence);
  const value = (gained - lost) / n;
  const root = (target: number, from: number, to: number): number => {
    let low = from;
    let high = to;
    for (let i = 0; i < 100; i++) {
      const middle = (low + high) / 2;
      if (scoreStatistic(counts, middle) > target) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  };
  return { value, low: value === -1 ? -1 : root(z, -1, value), high: value === 1 ? 1 : root(-z, value, 1) };
}

/** Tango's statistic for a hypothetical difference `delta`: 0 at the observed one, falling as `delta` grows. */
function scoreStatistic({ n, gained, lost }: PairedCounts, delta: number): number {
  // Most likely chance of a loss if the true difference were `delta`: the positive root of a quadratic.
  const b = (2 * n - gained + lost) * delta - gained - lost;
  const c = -lost * delta * (1 - delta);
  const loss = (Math.sqrt(Math.max(0, b * b - 8 * n * c)) - b) / (4 * n);
  const variance = n * (2 * loss + delta * (1 - delta));
  const distance = gained - lost - n * delta;
  return variance <= 0
    ? distance === 0
      ? 0
      : Math.sign(distance) * Number.POSITIVE_INFINITY
    : distance / Math.sqrt(variance);
}

/**
 * Exact two-sided McNemar test: chance of a split at least as uneven as gained : lost if both were equally likely.
 * Summed in logarithms, so it holds for a million flips too.
 */
export function mcnemarExact(gained: number, lost: number): number {
  const flips = gained + lost;
  const few = Math.min(gained, lost);
  let sum = 0;
  for (let k = 0; k <= few; k++) {
    sum += Math.exp(logGamma(flips + 1) - logGamma(k + 1) - logGamma(flips - k + 1) - flips * Math.LN2);
  }
  return Math.min(1, 2 * sum);
}

/**
 * Smallest true difference that n pairs would show as significant with the given power, if a share `disagreement` of the pairs
 * flips (Connor, Biometrics 1987): the fixed point of delta = (z_a sqrt(psi) + z_b sqrt(psi - delta^2)) / sqrt(n).
 * At least one flip is assumed, and never less disagreement than the difference itself needs.
 */
export function minimumDetectableEffect(
  n: number,
  disagreement: number,
  { confidence = 0.95, power = 0.8 } = {},
): number {
  const psi = Math.max(disagreement, 1 / n);
  const zAlpha = zOf(confidence);
  const zBeta = zOf(2 * power - 1);
  const needed = (delta: number) => {
    const flips = Math.max(psi, delta);
    return (zAlpha * Math.sqrt(flips) + zBeta * Math.sqrt(Math.max(0, flips - delta * delta))) / Math.sqrt(n);
  };
  if (needed(1) >= 1) return 1;
  let low = 0;
  let high = 1;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (needed(middle) > middle) low = middle;
    else high = middle;
  }
  return high;
}

function checked(counts: PairedCounts): PairedCounts {
  const { n, gained, lost } = counts;
  const whole = [n, gained, lost].every((value) => Number.isInteger(value) && value >= 0);
  if (!whole || n === 0 || gained + lost > n) {
    throw new RangeError(`${gained} gained and ${lost} lost of ${n} is not a paired table`);
  }
  return counts;
}
