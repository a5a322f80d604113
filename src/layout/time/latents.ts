import type { CompressedAttention } from "../../model/index.ts";

/** One tensor that changes between cut and whole along the sequence: elements a token of the whole tensor. */
export type Exchange = { readonly kind: "allGather" | "reduceScatter"; readonly width: number };

/**
 * What sequence and tensor parallelism exchange inside DeepSeek-V4's attention, in the order of the passes. Down-projections run on the
 * rank's own tokens, so latents are gathered and not the hidden state; only the output is scattered whole. What the indexer exchanges
 * stands together and is one meeting of the ranks. Its objective needs the queries of all heads once, where gradients are computed.
 * Source: Ascend/MindSpeed-LLM, `mindspeed_llm/tasks/models/transformer/deepseek4/g2_attention.py`.
 */
export function latentExchanges(
  spec: CompressedAttention,
  hidden: number,
): { readonly forward: readonly Exchange[]; readonly backward: readonly Exchange[] } {
  const { queryRank, headDim, ratio, indexer, heads } = spec;
  const scored =
    indexer === null ? 0 : indexer.heads * (indexer.headDim + 1) + indexer.headDim / indexer.ratio;
  const shared = [headDim, ...(ratio > 0 ? [headDim / ratio] : []), ...(scored > 0 ? [scored] : [])];
  return {
    forward: [
      ...[queryRank, ...shared].map((width) => ({ kind: "allGather", width }) as const),
      { kind: "reduceScatter", width: hidden },
    ],
    backward: [
      { kind: "allGather", width: hidden },
      ...(scored > 0 ? [{ kind: "allGather", width: heads * headDim } as const] : []),
      ...[...shared, queryRank].map((width) => ({ kind: "reduceScatter", width }) as const),
      // Gathered again for the gradient of the weights behind it.
      { kind: "allGather", width: queryRank },
    ],
  };
}
