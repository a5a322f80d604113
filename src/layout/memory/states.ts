/** Weights, gradients and optimizer state of every rank: the part of memory that does not move during a step. */
import type { Model, Weight } from "../../model/index.ts";
import type { Layout, Precision, Training, WeightFormat } from "../layout.ts";
import { memo } from "./memo.ts";
import { localElements, rankWeights, shardCounts } from "./shards.ts";

/** Bytes of one element, block scales included (fp8: fp32 per 128 x 128; mxfp8 and fp4: one byte per 32). */
export const WEIGHT_BYTES: Readonly<Record<WeightFormat, number>> = {
  float32: 4,
  bfloat16: 2,
  fp8: 1 + 4 / (128 * 128),
  mxfp8: 1 + 1 / 32,
  fp4: 0.5 + 1 / 32,
};
const MOMENT_BYTES = { float32: 4, bfloat16: 2, fp8: 1 } as const;
const MASTER_BYTES = { float32: 4, remainder: 2, none: 0 } as const;

export type Elements = {
  /** Matrices outside experts, other dense tensors, expert matrices, other expert tensors. */
  matrices: number;
  vectors: number;
  experts: number;
  expertVectors: number;
};

const noElements = (): Elements => ({ matrices: 0, vectors: 0, experts: 0, expertVectors: 0 });

/** Muon handles hidden matrices; embedding, head, router and everything of one dimension stay on AdamW. */
const takesMuon = (w: Weight): boolean =>
  w.use === "linear" && w.shape.length > 1 && w.module !== "head" && w.module !== "router";

function addElements(into: Elements, weight: Weight, count: number): void {
  const expert = weight.cut.kind === "expert";
  if (takesMuon(weight)) into[expert ? "experts" : "matrices"] += count;
  else into[expert ? "expertVectors" : "vectors"] += count;
}

/** Trained elements of one pipeline rank after tp, ep and etp, before data shards. `padVocabulary` rounds embeddings up. */
export function rankElements(
  model: Model,
  layout: Layout,
  training: Training,
  ppRank: number,
  padVocabulary = (rows: number) => rows,
): Elements {
  const sum = noElements();
  const grown = padVocabulary(model.vocabulary) / model.vocabulary;
  const key = `${layout.tp}/${layout.ep}/${layout.etp}/${layout.slotsPerRank ?? 0}/${grown}`;
  for (const { weights, times } of rankWeights(model, layout, training, ppRank)) {
    const one = perList(weights, key, () => {
      const count = noElements();
      for (const weight of weights) {
        if (!weight.trained) continue;
        const more = weight.shape[0] === model.vocabulary ? grown : 1;
        addElements(count, weight, more * localElements(weight, layout));
      }
      return count;
    });
    sum.matrices += times * one.matrices;
    sum.vectors += times * one.vectors;
    sum.experts += times * one.experts;
    sum.expertVectors += times * one.expertVectors;
  }
  return sum;
}

const perList = memo<readonly Weight[], Elements>();

/** Optimizer bytes of one element. */
export function optimizerBytes(training: Training, muonMatrix: boolean): number {
  const { precision, optimizer } = training;
  const moment = MOMENT_BYTES[precision.moments];
  const moments = optimizer === "sgd" ? 0 : optimizer === "muon" && muonMatrix ? moment : 2 * moment;
  return MASTER_BYTES[precision.master] + moments;
}

export const expertFormat = (precision: Precision): WeightFormat => precision.experts ?? precision.weights;

export type StateBytes = {
  readonly weights: number;
  readonly gradients: number;
  readonly optimizer: number;
  /** Part of the optimizer state that waits on the host. */
  readonly host: number;
};

/** Bytes of evenly cut state (Megatron): ZeRO level by level, experts over their own data ranks. */
export function evenStateBytes(count: Elements, layout: Layout, training: Training): StateBytes {
  const { precision } = training;
  const shards = shardCounts(layout);
  const dense = count.matrices + count.vectors;
  const expert = count.experts + count.expertVectors;
  const gradient = precision.gradients === "float32" ? 4 : 2;
  const perMatrix = optimizerBytes(training, true);
  const perOther = optimizerBytes(training, false);
  /** Bytes of both kinds where `level` and above cuts them; the fullest shard has the remainder. */
  const cut = (level: number, bytesDense: number, bytesExpert: number) =>
    layout.zero < level
      ? dense * bytesDense + expert * bytesExpert
      : Math.ceil(dense / shards.dense) * bytesDense + Math.ceil(expert / shards.expert) * bytesExpert;
  const mean = (first: number, second: number) =>
    first + second === 0 ? 0 : (first * perMatrix + second * perOther) / (first + second);
  const optimizer = cut(1, mean(count.matrices, count.vectors), mean(count.experts, count.expertVectors));
  const host = optimizer * layout.offload.optimizer;
  return {
    weights: cut(3, WEIGHT_BYTES[precision.weights], WEIGHT_BYTES[expertFormat(precision)]),
    gradients: cut(2, gradient, gradient),
    optimizer: optimizer - host,
    host,
  };
}
