import { err, ok, type Result } from "../../base/index.ts";
import { fail } from "../errors.ts";

/** How the ranks cut a global batch: every data rank takes as many consecutive rows, in micro-batches one after another. */
export type Cut = { readonly microBatch: number; readonly globalBatch: number; readonly dataRanks: number };

/**
 * The rows of the first pass over the data in the order in which they are trained, from a sample order of `tessera balance --order`: the
 * samples of one of its micro-batches are computed at the same time, sorted by their node over the ranks in order; rows outside its window
 * stay where they are. Errors: RUN_ORDER.
 */
export function rowOrder(text: string, file: string, rows: number, cut: Cut): Result<number[]> {
  const { microBatch, globalBatch, dataRanks } = cut;
  const size = microBatch * dataRanks;
  const bad = (why: string, whyZh: string) =>
    err(fail("RUN_ORDER", { file, why, whyZh, size, globalBatch }, { file }));
  let value: Record<string, unknown> | null;
  try {
    value = JSON.parse(text) as Record<string, unknown> | null;
  } catch {
    return bad("not JSON", "不是 JSON");
  }
  if (value?.["schema"] !== "tessera.sample-order/v1") return bad("no sample order", "不是樣本順序");
  const { firstSample: first, samples, microBatches, homes } = value;
  if (!whole(first) || !whole(samples) || samples === 0 || first + samples > rows) {
    return bad(
      `it is of samples ${String(first)} to ${String(Number(first) + Number(samples))}, the data has ${rows} rows`,
      `它的樣本為 ${String(first)} 至 ${String(Number(first) + Number(samples))}，資料有 ${rows} 列`,
    );
  }
  if (first % globalBatch !== 0 || samples % globalBatch !== 0) {
    return bad(
      `its window ${first}:${first + samples} is not of whole global batches of ${globalBatch}`,
      `窗 ${first}:${first + samples} 不是 ${globalBatch} 列全域批次的整數倍`,
    );
  }
  if (homes !== undefined && !(Array.isArray(homes) && homes.length === samples && homes.every(whole))) {
    return bad(`"homes" is not a node of each of ${samples} samples`, `"homes" 不是 ${samples} 個樣本的節點`);
  }
  const batches = batchesOf(microBatches, first, samples, size);
  if (!batches) {
    return bad(
      `"microBatches" are not its samples, each once, ${size} in each (microBatch x data ranks)`,
      `"microBatches" 不是其樣本各一次、每批 ${size} 個（microBatch × 資料進程數）`,
    );
  }
  if (microBatches === undefined && homes === undefined) {
    return bad('neither "microBatches" nor "homes"', '沒有 "microBatches" 也沒有 "homes"');
  }
  const home = (n: number) => (homes as number[] | undefined)?.[n - first] ?? 0;
  const order = Array.from({ length: rows }, (_, row) => row);
  const perStep = globalBatch / size;
  for (const [i, batch] of batches.entries()) {
    const step = first + Math.floor(i / perStep) * globalBatch;
    for (const [q, sample] of batch.toSorted((a, b) => home(a) - home(b)).entries()) {
      const rank = Math.floor(q / microBatch);
      order[step + (rank * perStep + (i % perStep)) * microBatch + (q % microBatch)] = sample;
    }
  }
  return ok(order);
}

const whole = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** Samples that are computed at the same time: as given, or `size` at a time in order; undefined where they are not the window's. */
function batchesOf(given: unknown, first: number, samples: number, size: number): number[][] | undefined {
  if (given === undefined) {
    return Array.from({ length: samples / size }, (_, i) =>
      Array.from({ length: size }, (_, q) => first + i * size + q),
    );
  }
  if (!Array.isArray(given)) return undefined;
  if (!given.every((batch) => Array.isArray(batch) && batch.length === size)) return undefined;
  const flat = (given as unknown[][]).flat();
  const inside = (n: unknown) => whole(n) && n >= first && n < first + samples;
  return flat.length === samples && flat.every(inside) && new Set(flat).size === samples
    ? (given as number[][])
    : undefined;
}
