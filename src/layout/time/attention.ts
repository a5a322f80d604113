import { type Attention, meanVisible, visibleKeys } from "../../model/index.ts";

/** Keys a kernel handles at once: a window's first block is computed whole and masked. */
const KEY_BLOCK = 128;

/**
 * Work of attention that no weight accounts for: products of queries with the keys they see. FLOPs of one forward pass per token,
 * two to a multiply-add, counting visible keys (causal, windows, top-k) and, under a window, what its masked block wastes.
 */
export function attentionFlops(spec: Attention, sequence: number): number {
  const keys = visibleKeys(spec, sequence);
  switch (spec.kind) {
    case "grouped": {
      const causal = meanVisible(sequence, Number.POSITIVE_INFINITY);
      const blocks = spec.window === null || spec.indexer ? keys : Math.min(keys + KEY_BLOCK, causal);
      return 2 * spec.heads * blocks * (spec.headDim + spec.valueDim);
    }
    case "latent":
      // Keys picked one by one are gathered as latents, which all heads share, and are not projected up (DeepSeek-V3.2's report).
      if (spec.indexer) return 2 * spec.heads * keys * (2 * spec.keyValueRank + spec.ropeDim);
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

export type HeadWidths = {
  readonly query: number;
  readonly keyValue: number;
  readonly output: number;
  readonly latent: number;
  /** Mean of what one head multiplies for a score and for a value. */
  readonly head: number;
};

/** Elements per token of queries, keys and values, output, and the low-rank vectors between projections. */
export function headWidths(spec: Attention): HeadWidths {
  switch (spec.kind) {
    case "grouped":
      return {
        query: spec.heads * spec.headDim,
        keyValue: spec.keyValueHeads * (spec.headDim + spec.valueDim),
        output: spec.heads * spec.valueDim,
        latent: 0,
        head: (spec.headDim + spec.valueDim) / 2,
      };
    case "latent": {
      const latent = (spec.queryRank ?? 0) + spec.keyValueRank + spec.ropeDim;
      if (spec.indexer) {
        const [score, value] = [spec.keyValueRank + spec.ropeDim, spec.keyValueRank];
        return {
          query: spec.heads * score,
          keyValue: score,
          output: spec.heads * value,
          latent,
          head: (score + value) / 2,
        };
      }
      const key = spec.nopeDim + spec.ropeDim;
      return {
        query: spec.heads * key,
        keyValue: spec.heads * (key + spec.valueDim),
        output: spec.heads * spec.valueDim,
        latent,
        head: (key + spec.valueDim) / 2,
      };
    }
    case "compressed":
      return {
        query: spec.heads * spec.headDim,
        keyValue: 2 * spec.headDim,
        output: spec.heads * spec.headDim,
        latent:
          spec.queryRank + spec.outputGroups * spec.outputRank + (spec.ratio > 0 ? 4 * spec.headDim : 0),
        head: spec.headDim,
      };
    case "linear":
      return {
        query: spec.keyHeads * spec.keyDim,
        keyValue: spec.keyHeads * spec.keyDim + spec.valueHeads * spec.valueDim,
        output: spec.valueHeads * spec.valueDim,
        latent: 0,
        head: (spec.keyDim + spec.valueDim) / 2,
      };
    default:
      return spec satisfies never;
  }
}
