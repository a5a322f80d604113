/**
 * The max/mean that chance alone makes on `ranks` equal ranks: about 1 + sqrt(2 ln P x phi / n), where n is the tokens a rank
 * receives in a step and phi the over-dispersion. Balancing below it from history is not possible (B5).
 */
export function noiseFloor(ranks: number, tokensPerRank: number, overDispersion = 1): number {
  if (ranks < 2 || tokensPerRank <= 0) return 1;
  return 1 + Math.sqrt((2 * Math.log(ranks) * overDispersion) / tokensPerRank);
}

/**
 * Over-dispersion phi of one layer's counts: variance from step to step over the mean, 1 for independent tokens. Half the squared
 * difference of neighbouring steps estimates the variance without counting slow drift as noise.
 *
 * @param rows counts [step][expert], at least two steps; the steps are scaled to equal totals first
 */
export function overDispersion(rows: readonly Float64Array[]): number {
  let variance = 0;
  let mean = 0;
  const totals = rows.map((row) => row.reduce((sum, value) => sum + value, 0));
  const typical = totals.reduce((sum, value) => sum + value, 0) / Math.max(1, rows.length);
  for (let t = 1; t < rows.length; t++) {
    const a = rows[t - 1] as Float64Array;
    const b = rows[t] as Float64Array;
    const scaleA = typical / Math.max(1e-300, totals[t - 1] as number);
    const scaleB = typical / Math.max(1e-300, totals[t] as number);
    for (let e = 0; e < b.length; e++) {
      const x = (a[e] as number) * scaleA;
      const y = (b[e] as number) * scaleB;
      variance += (y - x) ** 2 / 2;
      mean += (x + y) / 2;
    }
  }
  return mean > 0 ? variance / mean : 1;
}
