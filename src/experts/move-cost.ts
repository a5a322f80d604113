/** A move, or the rehearsal of one, as it was measured: layers that changed, bytes that its busiest rank sent, seconds. */
export type MoveSample = { readonly layers: number; readonly bytes: number; readonly seconds: number };

/** Seconds of a move = fixed + layer x layers + byte x bytes of the busiest rank. */
export type MoveCost = {
  readonly fixedSeconds: number;
  readonly layerSeconds: number;
  readonly secondsPerByte: number;
  /** Standard deviation of the samples' logarithms around the fit. */
  readonly spread: number;
};

export const secondsOfMove = (cost: MoveCost, layers: number, bytes: number): number =>
  cost.fixedSeconds + cost.layerSeconds * layers + cost.secondsPerByte * bytes;

type Triple = readonly [number, number, number];

/**
 * Fits the three costs to samples: least squares of the relative errors, none of the costs below zero, of the median of samples that
 * are alike, so that one that something else held up says little. What samples cannot tell apart (one layer only, one size only) falls
 * to the fewest costs that explain them. Nothing without samples.
 */
export function fitMoveCost(samples: readonly MoveSample[]): MoveCost | undefined {
  const good = samples.filter(({ bytes, seconds }) => bytes > 0 && seconds > 0);
  if (good.length === 0) return undefined;
  const middles = middlesOf(good);
  let best: Triple | undefined;
  let least = Number.POSITIVE_INFINITY;
  // The best fit without negative costs is one of the seven that leave costs out: with three costs all are tried.
  for (const kept of [[2], [0], [1], [0, 2], [1, 2], [0, 1], [0, 1, 2]]) {
    const found = solve(middles, kept);
    if (!found?.every((value) => value >= 0)) continue;
    const error = middles.reduce(
      (sum, sample) => sum + (predict(found, sample) / sample.seconds - 1) ** 2,
      0,
    );
    if (error < least * (1 - 1e-9)) [best, least] = [found, error];
  }
  if (!best) return undefined;
  const [fixedSeconds, layerSeconds, secondsPerByte] = best;
  const logs = good.map((sample) => Math.log(sample.seconds / predict(best, sample)));
  const spread = Math.sqrt(logs.reduce((sum, value) => sum + value * value, 0) / good.length);
  return { fixedSeconds, layerSeconds, secondsPerByte, spread };
}

/** One sample, of median seconds, for each pair of layers and bytes. */
function middlesOf(samples: readonly MoveSample[]): MoveSample[] {
  const alike = Map.groupBy(samples, ({ layers, bytes }) => `${layers}/${bytes}`);
  return [...alike.values()].map((group) => {
    const sorted = group.toSorted((a, b) => a.seconds - b.seconds);
    const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]] as [
      MoveSample,
      MoveSample,
    ];
    return { ...low, seconds: (low.seconds + high.seconds) / 2 };
  });
}

const predict = (costs: Triple, { layers, bytes }: MoveSample): number =>
  costs[0] + costs[1] * layers + costs[2] * bytes;

/** Least squares over the columns `kept` of (1, layers, bytes), each row divided by its seconds; nothing when they are not independent. */
function solve(samples: readonly MoveSample[], kept: readonly number[]): Triple | undefined {
  const n = kept.length;
  const rows = samples.map(({ layers, bytes, seconds }) => [1 / seconds, layers / seconds, bytes / seconds]);
  // Columns in units of their length, so that bytes and ones can be compared.
  const scale = kept.map((c) => Math.sqrt(rows.reduce((sum, row) => sum + (row[c] as number) ** 2, 0)));
  const at = (row: readonly number[], i: number) => (row[kept[i] as number] as number) / (scale[i] as number);
  const m = Array.from({ length: n }, (_, i) => [
    ...Array.from({ length: n }, (_, j) => rows.reduce((sum, row) => sum + at(row, i) * at(row, j), 0)),
    rows.reduce((sum, row) => sum + at(row, i), 0),
  ]);
  for (let i = 0; i < n; i++) {
    const pivot = m[i] as number[];
    if ((pivot[i] as number) < 1e-6) return undefined;
    for (let r = 0; r < n; r++) {
      if (r === i) continue;
      const row = m[r] as number[];
      const factor = (row[i] as number) / (pivot[i] as number);
      for (let c = i; c <= n; c++) row[c] = (row[c] as number) - factor * (pivot[c] as number);
    }
  }
  const out: [number, number, number] = [0, 0, 0];
  kept.forEach((c, i) => {
    const row = m[i] as number[];
    out[c] = (row[n] as number) / (row[i] as number) / (scale[i] as number);
  });
  return out;
}
