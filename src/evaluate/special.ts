/**
 * The three distribution functions that the intervals need, to about 1e-14. Inverses are found by bisection: they run a few
 * times per report, so being obviously right matters more than speed.
 */

/** Standard normal distribution function. Series of Marsaglia, "Evaluating the Normal Distribution" (J. Stat. Software 2004). */
export function normalCdf(x: number): number {
  if (x < -37) return 0;
  if (x > 37) return 1;
  let sum = x;
  let term = x;
  for (let k = 3; Math.abs(term / sum) > 1e-17 && k < 4000; k += 2) {
    term *= (x * x) / k;
    sum += term;
  }
  return Math.min(1, Math.max(0, 0.5 + sum * Math.exp(-0.5 * x * x - 0.5 * Math.log(2 * Math.PI))));
}

/** x with normalCdf(x) = p, for p in (0, 1). */
export const normalQuantile = (p: number): number => invert(normalCdf, p, 8);

/** Student's t distribution function with `df` degrees of freedom. */
export function studentCdf(t: number, df: number): number {
  const tail = 0.5 * incompleteBeta(df / (df + t * t), df / 2, 0.5);
  return t > 0 ? 1 - tail : tail;
}

/** t with studentCdf(t, df) = p, for p in (0, 1). */
export const studentQuantile = (p: number, df: number): number => invert((t) => studentCdf(t, df), p, 1);

/** Natural logarithm of the gamma function for x > 0 (Lanczos, g = 7, nine terms). */
export function logGamma(x: number): number {
  let sum = LANCZOS[0] as number;
  for (let i = 1; i < LANCZOS.length; i++) sum += (LANCZOS[i] as number) / (x - 1 + i);
  const base = x + 6.5;
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(base) - base + Math.log(sum);
}

const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];

/** Regularised incomplete beta I_x(a, b), by its continued fraction (modified Lentz) on the side where that converges fast. */
export function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x));
  let c = 1;
  let d = 1 / nonZero(1 - ((a + b) * x) / (a + 1));
  let fraction = d;
  for (let m = 1; m < 10_000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / nonZero(1 + even * d);
    c = nonZero(1 + even / c);
    fraction *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / nonZero(1 + odd * d);
    c = nonZero(1 + odd / c);
    fraction *= d * c;
    if (Math.abs(d * c - 1) < 1e-16) break;
  }
  return (front * fraction) / a;
}

const nonZero = (value: number) => (Math.abs(value) < 1e-300 ? 1e-300 : value);

/** Bisection of an increasing function to the last bit; the bracket grows until it holds the answer. */
function invert(cdf: (x: number) => number, p: number, start: number): number {
  if (!(p > 0 && p < 1)) throw new RangeError(`probability ${p} is not inside (0, 1)`);
  let low = -start;
  let high = start;
  while (cdf(low) > p) low *= 2;
  while (cdf(high) < p) high *= 2;
  for (let i = 0; i < 200 && low < high; i++) {
    const middle = low + (high - low) / 2;
    if (middle === low || middle === high) break;
    if (cdf(middle) < p) low = middle;
    else high = middle;
  }
  return low + (high - low) / 2;
}
