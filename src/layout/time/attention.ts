import { type Attention, meanVisible, visibleKeys } from "../../model/index.ts";

/**
 * Work of attention that no weight accounts for: products of queries with the keys they see. FLOPs of one forward pass per token,
 * two to a multiply-add, counting only visible keys (causal, windows, top-k).
 */
export function attentionFlops(spec: Attention, sequence: number): number {
  const keys = visibleKeys(spec, sequence);
  switch (spec.kind) {
    case "grouped":
      return 2 * spec.heads * keys * (spec.headDim + spec.valueDim);
    case "latent":
      return 2 * spec.heads * keys * (spec.nopeDim + spec.ropeDim + spec.valueDim);
    case "compressed":
      return 2 * spec.heads * keys * 2 * spec.headDim;
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
  return 2 * heads * headDim * meanVisible(sequence, Number.POSITIVE_INFINITY, ratio);
}
