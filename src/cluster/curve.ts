/**
 * Smooth cost curves: seconds as a sum of non-negative multiples of a shape's features (a constant, products of its dimensions,
 * bytes). Every term has a meaning (start, multiply, move), a curve never falls when a dimension grows, and it is cheap to evaluate.
 */
export type Curve = {
  /** Seconds per unit of each feature. */
  readonly terms: readonly number[];
  /** Points it was fitted on, and how far they lie from it: shares of the measured seconds. */
  readonly points: number;
  readonly median: number;
  readonly worst: number;
};

export function curveSeconds(curve: Curve, features: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < features.length; i++) sum += (curve.terms[i] ?? 0) * (features[i] as number);
  return sum;
}

/** Length of a column, or 1 over the shortest there may be, which makes it vanish. */
const length = (rows: readonly (readonly number[])[], column: number): number => {
  const found = Math.hypot(...rows.map((row) => row[column] as number));
  return found < SHORTEST ? 1 / SHORTEST : found;
};

/** A point to fit: features of its shape, and the seconds it took. */
export type Sample = {
  readonly features: readonly number[];
  readonly seconds: number;
  /** Part of the seconds that is explained already and not to be fitted. */
  readonly known?: number;
};

const ROUNDS = 20_000;
const STILL = 1e-12;
/** Columns shorter than this (features all but zero) say nothing, and dividing by them would overflow. */
const SHORTEST = 1e-100;

/**
 * Non-negative least squares on relative residuals, by coordinate descent: small shapes count as much as large ones, and no term
 * can turn negative to bend the curve.
 *
 * @returns undefined without a sample that has seconds
 */
export function fitCurve(samples: readonly Sample[]): Curve | undefined {
  const good = samples.filter(({ seconds }) => seconds > 0);
  const width = good[0]?.features.length ?? 0;
  if (width === 0) return undefined;
  // Rows divided by their seconds: the target is 1 everywhere, less what is known. Columns scaled to length 1, or the largest product rules.
  const rows = good.map(({ features, seconds }) => features.map((f) => f / seconds));
  const scale = Array.from({ length: width }, (_, j) => length(rows, j));
  const a = rows.map((row) => row.map((value, j) => value / (scale[j] as number)));
  const x = new Float64Array(width);
  const left = good.map(({ seconds, known = 0 }) => 1 - known / seconds);
  for (let round = 0; round < ROUNDS; round++) {
    let moved = 0;
    for (let j = 0; j < width; j++) {
      let pull = 0;
      let weight = 0;
      a.forEach((row, i) => {
        pull += (row[j] as number) * (left[i] as number);
        weight += (row[j] as number) ** 2;
      });
      if (weight < 0.5) continue;
      const next = Math.max(0, (x[j] as number) + pull / weight);
      const step = next - (x[j] as number);
      if (step === 0) continue;
      x[j] = next;
      moved = Math.max(moved, Math.abs(step));
      a.forEach((row, i) => {
        left[i] = (left[i] as number) - step * (row[j] as number);
      });
    }
    if (moved < STILL) break;
  }
  const terms = Array.from(x, (value, j) => value / (scale[j] as number));
  const off = good
    .map(({ features, seconds, known = 0 }) => {
      const guess = known + features.reduce((sum, f, j) => sum + f * (terms[j] as number), 0);
      return Math.abs(guess / seconds - 1);
    })
    .sort((p, q) => p - q);
  return {
    terms,
    points: good.length,
    median: off[Math.floor(off.length / 2)] as number,
    worst: off.at(-1) as number,
  };
}
