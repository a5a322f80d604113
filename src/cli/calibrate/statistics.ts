/** What repeats of one point come to. Seconds; `interval` and `spread` are shares of the median. */
export type Summary = {
  readonly seconds: number;
  /** Half the 95 % interval of the median. */
  readonly interval: number;
  /** Distance between the quartiles. */
  readonly spread: number;
  readonly samples: number;
};

/** Order statistics only: one repeat that another process disturbed moves nothing. */
export function summary(samples: readonly number[]): Summary {
  const sorted = [...samples].sort((a, b) => a - b);
  const n = sorted.length;
  const at = (index: number) => sorted[Math.min(n - 1, Math.max(0, index))] as number;
  const seconds = n % 2 ? at((n - 1) / 2) : (at(n / 2 - 1) + at(n / 2)) / 2;
  // Ranks between which the median of the population lies in 95 of 100 cases (normal form of the binomial).
  const reach = 0.98 * Math.sqrt(n);
  const low = at(Math.floor(n / 2 - reach));
  const high = at(Math.ceil(n / 2 - 1 + reach));
  return {
    seconds,
    interval: seconds > 0 ? (high - low) / 2 / seconds : 0,
    spread: seconds > 0 ? (at(Math.floor(0.75 * n)) - at(Math.floor(0.25 * n))) / seconds : 0,
    samples: n,
  };
}
