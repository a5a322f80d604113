import { z } from "zod";
import { key } from "../../base/schema.ts";

export const batch = z.strictObject({
  sequenceLength: key(z.int().min(8), "tokens of one packed sequence", "每個裝箱序列的詞元數"),
  microBatch: key(
    z.int().min(1).default(1),
    "sequences that go through the model at once",
    "一次通過模型的序列數",
  ),
  globalBatch: key(z.int().min(1), "sequences of one optimizer update", "一次更新的序列數"),
});

export const precision = z.strictObject({
  param: key(
    z.enum(["float32", "bfloat16"]).default("float32"),
    "format of the computing weights",
    "計算權重的格式",
  ),
  master: key(
    z.literal("float32").default("float32"),
    "format of the optimizer's weights",
    "優化器權重的格式",
  ),
  reduce: key(
    z.enum(["float32", "bfloat16"]).default("float32"),
    "format of gradient sums between ranks",
    "進程間梯度求和的格式",
  ),
});

export const optimizer = z.strictObject({
  kind: key(z.literal("adamw").default("adamw"), "the optimizer", "優化器"),
  learningRate: key(z.number().positive(), "peak learning rate", "學習率峰值"),
  betas: key(
    z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]).default([0.9, 0.95]),
    "Adam's two decay rates",
    "Adam 的兩個衰減率",
  ),
  eps: key(z.number().positive().default(1e-8), "Adam's epsilon", "Adam 的 epsilon"),
  weightDecay: key(z.number().min(0).default(0.1), "decoupled weight decay", "解耦權重衰減"),
  clip: key(z.number().positive().default(1), "largest global gradient norm", "全域梯度範數上限"),
  warmupSteps: key(z.int().min(0).default(20), "steps of linear warm-up", "線性預熱步數"),
  decay: key(z.enum(["cosine", "constant"]).default("cosine"), "shape after the warm-up", "預熱後的形狀"),
  minRatio: key(
    z.number().min(0).max(1).default(0.1),
    "end of the decay, as a share of the peak",
    "衰減終點佔峰值的比例",
  ),
});

export const moe = z.strictObject({
  biasRate: key(
    z.number().min(0).default(0.001),
    "step of the routing bias that evens the experts (auxiliary-loss-free balancing); 0 turns it off",
    "平衡專家的路由偏置步長（無輔助損失）；0 為關閉",
  ),
  biasSchedule: key(
    z.enum(["constant", "linear", "until"]).default("constant"),
    "what `biasRate` does over the last steps: stay, fall to zero in a line, or be zero",
    "`biasRate` 在最後若干步的走勢：`constant` 不變、`linear` 線性降到零、`until` 直接為零",
  ),
  biasLastFraction: key(
    z.number().gt(0).max(1).default(0.1),
    "share of the steps that `biasSchedule` calls the last",
    "`biasSchedule` 所指最後若干步佔全部步數的比例",
  ),
  sequenceBalanceLoss: key(
    z.number().min(0).default(0.0001),
    "weight of the per-sequence balance loss",
    "序列級平衡損失的權重",
  ),
  spareSlots: key(
    z.int().min(0).default(0),
    "places on each rank for second copies of hot experts; a rank never holds one expert twice",
    "每個進程為熱門專家第二份副本預留的槽位；同一進程不會放兩份相同專家",
  ),
});

export const objectives = z.strictObject({
  mtp: key(z.number().min(0).default(0.3), "weight of multi-token prediction", "多詞元預測的權重"),
  indexer: key(
    z.number().min(0).default(0.01),
    "weight of the attention indexer's objective",
    "注意力索引器目標的權重",
  ),
});

export const checkpoint = z.strictObject({
  every: key(z.int().min(1).default(25), "steps between checkpoints", "檢查點間隔步數"),
  keep: key(z.int().min(1).default(3), "newest checkpoints that are kept", "保留最新的檢查點數"),
});
