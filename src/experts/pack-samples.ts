import { Random } from "../base/index.ts";

export type Packing = {
  /** Samples of each micro-batch. */
  readonly batches: readonly (readonly number[])[];
  /** Sum over micro-batches and layers of the slowest rank's load, before (in the given order) and after. */
  readonly before: number;
  readonly after: number;
};

export type PackOptions = {
  /** Only samples of the same kind change places (their home node, say). */
  readonly kinds?: ArrayLike<number>;
  readonly tries?: number;
  readonly seed?: number;
};

/**
 * Which samples of a global batch share a micro-batch, so that in each the ranks are loaded evenly: the batch itself and so the update
 * stay what they were. Starts from the given order and exchanges samples between micro-batches while the sum of slowest ranks falls.
 *
 * @param rows load [sample][layer x rank] (see `sampleRankLoads`); `ranks` per layer; samples must divide into `microBatches`
 */
export function packSamples(
  rows: readonly Float64Array[],
  ranks: number,
  microBatches: number,
  options: PackOptions = {},
): Packing {
  const { kinds, tries = 40 * rows.length, seed = 1 } = options;
  const size = rows.length / microBatches;
  if (!Number.isInteger(size)) throw new RangeError("samples do not divide into micro-batches");
  const width = rows[0]?.length ?? 0;
  const batches = Array.from({ length: microBatches }, (_, m) =>
    Array.from({ length: size }, (_, i) => m * size + i),
  );
  const sums = batches.map((batch) => {
    const sum = new Float64Array(width);
    for (const n of batch) add(sum, rows[n] as Float64Array, 1);
    return sum;
  });
  const costs = sums.map((sum) => slowestSum(sum, ranks));
  const before = costs.reduce((all, cost) => all + cost, 0);
  const random = new Random(seed);
  for (let k = 0; k < tries && microBatches > 1; k++) {
    const m = random.int(0, microBatches - 1);
    const o = (m + random.int(1, microBatches - 1)) % microBatches;
    const i = random.int(0, size - 1);
    const j = random.int(0, size - 1);
    const a = (batches[m] as number[])[i] as number;
    const b = (batches[o] as number[])[j] as number;
    if (kinds && kinds[a] !== kinds[b]) continue;
    const rowA = rows[a] as Float64Array;
    const rowB = rows[b] as Float64Array;
    const costM = slowestAfter(sums[m] as Float64Array, rowA, rowB, ranks);
    const costO = slowestAfter(sums[o] as Float64Array, rowB, rowA, ranks);
    if (costM + costO >= (costs[m] as number) + (costs[o] as number) - 1e-9) continue;
    add(sums[m] as Float64Array, rowA, -1);
    add(sums[m] as Float64Array, rowB, 1);
    add(sums[o] as Float64Array, rowB, -1);
    add(sums[o] as Float64Array, rowA, 1);
    (batches[m] as number[])[i] = b;
    (batches[o] as number[])[j] = a;
    costs[m] = costM;
    costs[o] = costO;
  }
  return { batches, before, after: costs.reduce((all, cost) => all + cost, 0) };
}

function add(sum: Float64Array, row: Float64Array, sign: 1 | -1): void {
  for (let i = 0; i < row.length; i++) sum[i] = (sum[i] as number) + sign * (row[i] as number);
}

function slowestSum(sum: Float64Array, ranks: number): number {
  let all = 0;
  for (let from = 0; from < sum.length; from += ranks) {
    let most = 0;
    for (let i = from; i < from + ranks; i++) if ((sum[i] as number) > most) most = sum[i] as number;
    all += most;
  }
  return all;
}

function slowestAfter(sum: Float64Array, out: Float64Array, into: Float64Array, ranks: number): number {
  let all = 0;
  for (let from = 0; from < sum.length; from += ranks) {
    let most = 0;
    for (let i = from; i < from + ranks; i++) {
      const value = (sum[i] as number) - (out[i] as number) + (into[i] as number);
      if (value > most) most = value;
    }
    all += most;
  }
  return all;
}
