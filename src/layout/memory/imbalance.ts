/**
 * Memory when experts are not loaded evenly.
 *
 * Two causes, kept apart. Experts that are hot for long load their rank in every micro-batch: a histogram of tokens per
 * expert gives each ep rank its share. On top, loads vary between micro-batches; with n of them in flight and independent
 * the sum varies by 1 / sqrt(n) of that. So a rank's quantile is `share * (1 + z * variation / sqrt(n))`, and a report is
 * computed with that load on every rank: it says what the rank at that quantile needs, not what all ranks need at once.
 */
import type { Model } from "../../model/index.ts";
import type { Layout, Training } from "../layout.ts";
import { memoryOf, type MemoryOptions } from "./evaluate.ts";
import type { MemoryReport, RankClass } from "./types.ts";

export type Imbalance = {
  /** Tokens per expert of one layer, in any unit; absent: even. */
  readonly histogram?: readonly number[];
  /** Standard deviation over mean of a rank's load between micro-batches; 0 when absent. */
  readonly variation?: number;
};

/** Load of every ep rank against its even share; slot i of `placement` holds expert placement[i]. */
export function rankLoads(histogram: readonly number[], ep: number, placement?: readonly number[]): number[] {
  const total = histogram.reduce((sum, n) => sum + n, 0);
  const slots = placement ?? histogram.map((_, i) => i);
  const copies = new Map<number, number>();
  for (const expert of slots) copies.set(expert, (copies.get(expert) ?? 0) + 1);
  const each = slots.length / ep;
  return Array.from({ length: ep }, (_, rank) => {
    const mine = slots.slice(rank * each, (rank + 1) * each);
    const tokens = mine.reduce(
      (sum, expert) => sum + (histogram[expert] ?? 0) / (copies.get(expert) as number),
      0,
    );
    return total === 0 ? 1 : (tokens * ep) / total;
  });
}

/** Inverse of the normal distribution to about 0.002 (Winitzki's closed form of the inverse error function). */
function normalQuantile(q: number): number {
  const x = 2 * q - 1;
  const l = Math.log(1 - x * x);
  const a = 0.147;
  const b = 2 / (Math.PI * a) + l / 2;
  return Math.sign(x) * Math.sqrt(2) * Math.sqrt(Math.sqrt(b * b - l / a) - b);
}

/** Load of the rank at quantile `q` of all ranks and micro-batches, with `inFlight` micro-batches kept. */
export function loadQuantile(imbalance: Imbalance, ep: number, inFlight: number, q: number): number {
  const loads = imbalance.histogram ? rankLoads(imbalance.histogram, ep) : [1];
  const sorted = loads.toSorted((a, b) => a - b);
  const share = sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] as number;
  const spread = (imbalance.variation ?? 0) / Math.sqrt(Math.max(1, inFlight));
  return Math.max(0, share * (1 + normalQuantile(q) * spread));
}

export type MemoryQuantiles = { readonly p50: MemoryReport; readonly p99: MemoryReport };

/** Reports for the median rank and for the rank at the 99th percentile. */
export function memoryQuantiles(
  model: Model,
  layout: Layout,
  training: Training,
  options: MemoryOptions,
  imbalance: Imbalance,
): MemoryQuantiles {
  const even = memoryOf(model, layout, training, options);
  const { live } = (even.classes[even.worst] as RankClass).memory.peak;
  const inFlight = live.reduce((sum, n) => sum + n, 0);
  const at = (q: number) =>
    memoryOf(model, layout, training, { ...options, load: loadQuantile(imbalance, layout.ep, inFlight, q) });
  return { p50: at(0.5), p99: at(0.99) };
}
