import { err, type Result } from "../base/index.ts";
import { fail } from "./errors.ts";
import { type Loads, makeLoads } from "./loads.ts";
import { copyCounts } from "./placement.ts";
import type { Shape } from "./shape.ts";
import { makeTrace, type Trace } from "./trace.ts";

/** Experts of token id v at `table[v * k .. v * k + k - 1]`. */
export type HashTable = { readonly experts: number; readonly k: number; readonly table: Int32Array };

/**
 * Choices of a hash-routed layer before any step is run: the experts of a token are a table of its id.
 * Errors: EXPERTS_TRACE for a token id outside the table, or an expert that does not exist or comes twice.
 */
export function hashTrace(tokenIds: ArrayLike<number>, hash: HashTable): Result<Trace> {
  const { experts, k, table } = hash;
  const chosen = new Int32Array(tokenIds.length * k);
  for (let t = 0; t < tokenIds.length; t++) {
    const id = tokenIds[t] as number;
    if (!(id >= 0 && (id + 1) * k <= table.length))
      return err(fail("EXPERTS_TRACE", { why: `token id ${id}: ${table.length / Math.max(1, k)} ids` }));
    chosen.set(table.subarray(id * k, (id + 1) * k), t * k);
  }
  return makeTrace(experts, k, chosen);
}

/** Routing of samples from a pre-scan or a first epoch: `counts[(n * layers + l) * experts + e]` tokens of sample n. */
export type Scan = {
  readonly samples: number;
  readonly ids: readonly number[];
  readonly experts: number;
  readonly counts: Float64Array | Int32Array | Uint16Array;
};

/** What each sample of `length` tokens loads, from what its tokens chose in each layer (same tokens in all). */
export function scanOf(ids: readonly number[], traces: readonly Trace[], length: number): Scan {
  const [first] = traces;
  const samples = Math.floor((first?.tokens ?? 0) / length);
  const experts = first?.experts ?? 0;
  const counts = new Int32Array(samples * ids.length * experts);
  traces.forEach(({ chosen, k }, l) => {
    for (let i = 0; i < samples * length * k; i++) {
      const n = Math.floor(i / (length * k));
      const cell = (n * ids.length + l) * experts + (chosen[i] as number);
      counts[cell] = (counts[cell] as number) + 1;
    }
  });
  return { samples, ids, experts, counts };
}

/** Loads of the next window of samples: what a placement for that window is planned on. */
export function windowLoads(scan: Scan, samples: readonly number[]): Result<Loads> {
  const layers = scan.ids.length;
  const rows = scan.ids.map(() => new Float64Array(scan.experts));
  for (const n of samples) {
    if (!(n >= 0 && n < scan.samples))
      return err(fail("EXPERTS_TRACE", { why: `sample ${n} of ${scan.samples}` }));
    for (let l = 0; l < layers; l++) {
      const row = rows[l] as Float64Array;
      const from = (n * layers + l) * scan.experts;
      for (let e = 0; e < scan.experts; e++) row[e] = (row[e] as number) + (scan.counts[from + e] as number);
    }
  }
  return makeLoads(rows, scan.ids);
}

/** Load that each sample puts on each rank of each layer under a placement: rows [sample][layer x rank], for `packSamples`. */
export function sampleRankLoads(scan: Scan, shape: Shape, layers: readonly Int32Array[]): Float64Array[] {
  const counts = layers.map((row) => copyCounts(shape.experts, row));
  return Array.from({ length: scan.samples }, (_, n) => {
    const out = new Float64Array(layers.length * shape.ranks);
    layers.forEach((row, l) => {
      const from = (n * layers.length + l) * scan.experts;
      for (let r = 0; r < shape.ranks; r++) {
        let sum = 0;
        for (let s = shape.slotStart[r] as number; s < (shape.slotStart[r + 1] as number); s++) {
          const e = row[s] as number;
          sum += (scan.counts[from + e] as number) / ((counts[l] as Int32Array)[e] as number);
        }
        out[l * shape.ranks + r] = sum / (shape.speed[r] as number);
      }
    });
    return out;
  });
}
