/** How the next steps' loads are guessed from the past: the last step, or an exponential mean that keeps `keep` of the old each step. */
export type Forecaster = { readonly kind: "last" } | { readonly kind: "mean"; readonly keep: number };

const CANDIDATES: readonly Forecaster[] = [
  { kind: "last" },
  { kind: "mean", keep: 0.5 },
  { kind: "mean", keep: 0.8 },
  { kind: "mean", keep: 0.9 },
  { kind: "mean", keep: 0.97 },
];

export type LayerForecast = {
  readonly forecaster: Forecaster;
  /** Mean over tested steps of half the summed difference of predicted and real shares: 0 perfect, 1 all wrong. */
  readonly error: number;
  readonly loads: Float64Array;
  /** Steps until half of what is persistent in the shares has changed; the length of the history if it has not. */
  readonly halfLifeSteps: number;
};

/** Most recent steps that the back-test predicts. */
const TESTED = 20;

/**
 * Loads of the next steps of one layer, by the forecaster that would have predicted the recent steps best.
 *
 * @param rows counts [step][expert], oldest first, at least one step
 */
export function forecastLayer(rows: readonly Float64Array[]): LayerForecast {
  const shares = rows.map(toShares);
  const last = rows.at(-1) as Float64Array;
  const total = last.reduce((sum, value) => sum + value, 0);
  let best = CANDIDATES[0] as Forecaster;
  let bestError = Number.POSITIVE_INFINITY;
  let guess = shares.at(-1) as Float64Array;
  for (const candidate of CANDIDATES) {
    const { error, next } = backTest(shares, candidate);
    if (error < bestError - 1e-12) {
      best = candidate;
      bestError = error;
      guess = next;
    }
  }
  return {
    forecaster: best,
    error: Number.isFinite(bestError) ? bestError : 0,
    loads: guess.map((share) => share * total),
    halfLifeSteps: halfLife(shares),
  };
}

function toShares(row: Float64Array): Float64Array {
  const total = row.reduce((sum, value) => sum + value, 0);
  return row.map((value) => (total > 0 ? value / total : 1 / row.length));
}

function backTest(shares: readonly Float64Array[], by: Forecaster): { error: number; next: Float64Array } {
  const keep = by.kind === "last" ? 0 : by.keep;
  const mean = (shares[0] as Float64Array).slice();
  const from = Math.max(1, shares.length - TESTED);
  let error = 0;
  let weight = 1;
  for (let t = 1; t < shares.length; t++) {
    const row = shares[t] as Float64Array;
    let off = 0;
    for (let e = 0; e < row.length; e++) off += Math.abs((row[e] as number) - (mean[e] as number));
    if (t >= from) error += off / 2;
    // Young means weigh all steps alike: 1/t until the mean is as old as it wants to be.
    weight = Math.max(1 - keep, 1 / (t + 1));
    for (let e = 0; e < row.length; e++) {
      mean[e] = (mean[e] as number) + weight * ((row[e] as number) - (mean[e] as number));
    }
  }
  const tested = shares.length - from;
  return { error: tested > 0 ? error / tested : Number.POSITIVE_INFINITY, next: mean };
}

/** First lag at which the correlation of share deviations is half of that at lag 1 (noise lowers both alike). */
function halfLife(shares: readonly Float64Array[]): number {
  const n = shares.length;
  if (n < 4) return n;
  const first = correlation(shares, 1);
  if (first <= 0) return 1;
  for (let lag = 2; lag < n - 1; lag = Math.max(lag + 1, Math.round(lag * 1.3))) {
    if (correlation(shares, lag) < first / 2) return lag;
  }
  return n;
}

function correlation(shares: readonly Float64Array[], lag: number): number {
  let cross = 0;
  let square = 0;
  const stride = Math.max(1, Math.floor((shares.length - lag) / 12));
  for (let t = lag; t < shares.length; t += stride) {
    const a = shares[t - lag] as Float64Array;
    const b = shares[t] as Float64Array;
    const even = 1 / a.length;
    for (let e = 0; e < a.length; e++) {
      const x = (a[e] as number) - even;
      const y = (b[e] as number) - even;
      cross += x * y;
      square += (x * x + y * y) / 2;
    }
  }
  return square > 0 ? cross / square : 0;
}
