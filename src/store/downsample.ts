/** Pure helpers that make long series fit a screen without hiding anything. */

/** One bucket: what the series did between two borders. `nan` counts values that are no number; min and max leave them out. */
export type Bucket = {
  readonly x: number;
  readonly min: number;
  readonly max: number;
  readonly last: number;
  readonly count: number;
  readonly nan: number;
};

/**
 * At most `count` buckets of equal width over x (which must not fall), each with least, greatest and last value: a spike of one step
 * stays visible at any width. Empty buckets are left out, so that a gap is drawn as a gap. Time is O(length): 1e6 values take a few ms.
 */
export function bucketize(x: ArrayLike<number>, y: ArrayLike<number>, count: number): Bucket[] {
  const n = Math.min(x.length, y.length);
  if (n === 0 || count < 1) return [];
  const from = x[0] as number;
  const span = (x[n - 1] as number) - from;
  const buckets: Bucket[] = [];
  let at = 0;
  while (at < n) {
    const bucket = indexOf(x[at] as number, from, span, count);
    let min = Number.POSITIVE_INFINITY;
    let max = Number.NEGATIVE_INFINITY;
    let nan = 0;
    let end = at;
    for (; end < n && indexOf(x[end] as number, from, span, count) === bucket; end++) {
      const value = y[end] as number;
      if (Number.isNaN(value)) nan++;
      if (value < min) min = value;
      if (value > max) max = value;
    }
    const number = end - at;
    const empty = nan === number;
    buckets.push({
      x: x[end - 1] as number,
      min: empty ? Number.NaN : min,
      max: empty ? Number.NaN : max,
      last: y[end - 1] as number,
      count: number,
      nan,
    });
    at = end;
  }
  return buckets;
}

const indexOf = (x: number, from: number, span: number, count: number) =>
  span === 0 ? 0 : Math.min(count - 1, Math.floor(((x - from) / span) * count));

/**
 * Which records still count: a run that went back to a checkpoint writes its steps again, and only the last writing of a step and
 * of all steps after it holds. Indices of what counts and of what was lost, both rising.
 */
export function splitRewound(step: ArrayLike<number>): { readonly kept: number[]; readonly lost: number[] } {
  const kept: number[] = [];
  const lost: number[] = [];
  let least = Number.POSITIVE_INFINITY;
  for (let i = step.length - 1; i >= 0; i--) {
    const here = step[i] as number;
    if (here < least) {
      least = here;
      kept.push(i);
    } else lost.push(i);
  }
  return { kept: kept.reverse(), lost: lost.reverse() };
}
