import type { Attention, Indexer } from "../../model/types.ts";

/**
 * Work of attention that no weight accounts for: products of queries with the keys they see. FLOPs are a forward pass's, per
 * token of the sequence, two to a multiply-add, counting only visible keys (causal, windows, top-k).
 */

/** Mean of min(position, most) over a sequence: keys a causal query sees on average. */
export function meanVisible(sequence: number, most: number): number {
  if (most >= sequence) return (sequence + 1) / 2;
  return most - (most * (most - 1)) / (2 * sequence);
}

const chosen = (sequence: number, indexer: Indexer): number =>
  meanVisible(sequence / indexer.ratio, indexer.topK) * (indexer.ratio > 1 ? indexer.ratio : 1);

export function attentionFlops(spec: Attention, sequence: number): number {
  switch (spec.kind) {
    case "grouped": {
      const window = spec.window ?? sequence;
      const all =
        spec.windowKind === "chunk" ? (Math.min(window, sequence) + 1) / 2 : meanVisible(sequence, window);
      const keys = spec.indexer ? Math.min(all, chosen(sequence, spec.indexer)) : all;
      return 2 * spec.heads * keys * (spec.headDim + spec.valueDim);
    }
    case "latent": {
      const all = meanVisible(sequence, sequence);
      const keys = spec.indexer ? Math.min(all, chosen(sequence, spec.indexer)) : all;
      return 2 * spec.heads * keys * (spec.nopeDim + spec.ropeDim + spec.valueDim);
    }
    case "compressed": {
      const near = meanVisible(sequence, spec.window);
      const entries = spec.ratio === 0 ? 0 : sequence / spec.ratio;
      const far = spec.ratio === 0 ? 0 : meanVisible(entries, spec.indexer?.topK ?? entries);
      return 2 * spec.heads * (near + far) * 2 * spec.headDim;
    }
    case "linear":
      // Chunked scan: inside a chunk like attention, between chunks through the state (written, read, decayed).
      return (
        2 *
        spec.valueHeads *
        ((spec.chunk / 2) * (spec.keyDim + spec.valueDim) + 3 * spec.keyDim * spec.valueDim)
      );
    default:
      return spec satisfies never;
  }
}

/** Scoring of every earlier entry by the indexer that picks the top-k. */
export function indexerFlops(spec: Attention, sequence: number): number {
  if (spec.kind === "linear" || !spec.indexer?.owned) return 0;
  const { heads, headDim, ratio } = spec.indexer;
  return 2 * heads * headDim * meanVisible(sequence / ratio, sequence / ratio);
}
