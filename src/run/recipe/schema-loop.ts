import { z } from "zod";
import { key } from "../../base/schema.ts";

const share = () => z.number().min(0).max(1);

const produce = z.strictObject({
  domain: key(
    z.enum(["or", "general"]),
    "`or`: operations-research problems with proven answers; `general`: text for a base model, with a tokenizer",
    "`or`：有求解證明的運籌學問題；`general`：基礎模型用的通用文本與分詞器",
  ),
  problems: key(
    z.int().min(10),
    "accepted problems to reach; documents for `general`",
    "須通過的問題數；`general` 為文件數",
  ),
  difficulties: key(
    z.tuple([share(), share(), share()]).default([0.7, 0.25, 0.05]),
    "shares of the difficulties 1, 2 and 3",
    "難度 1、2、3 的比例",
  ),
  families: key(
    z.array(z.string().min(1)).min(1).optional(),
    "problem families; all when absent",
    "問題族；省略為全部",
  ),
  languages: key(
    z
      .array(z.enum(["en", "zh"]))
      .min(1)
      .default(["en", "zh"]),
    "languages of the wording",
    "敘述語言",
  ),
  heldOut: key(
    z.int().min(0).default(240),
    "problems held out by family and parameters",
    "依問題族與參數保留的測試題數",
  ),
  retention: key(
    z.int().min(0).default(200),
    "held-out documents of general text that show what was forgotten",
    "用來檢查遺忘的通用文本保留份數",
  ),
});

/** Exactly one of the sources. */
export const data = z.union([
  z.strictObject({
    produce: key(produce, "generate samples and let a solver accept them", "產生樣本並由求解器驗收"),
  }),
  z.strictObject({
    files: key(
      z.array(z.string().min(1)).min(1),
      "JSONL files of samples, relative to the recipe",
      "樣本 JSONL 檔，相對於配方",
    ),
  }),
  z.strictObject({
    packed: key(
      z.string().min(1),
      "already packed sequences: safetensors with `input_ids` and `labels`, int32 [n, sequence length]",
      "已裝箱序列：含 `input_ids`、`labels` 的 safetensors，int32 [n, 序列長度]",
    ),
    order: key(
      z.string().min(1).optional(),
      "order of the rows in the first pass over them, as `tessera balance --order` writes it; later passes are shuffled by `seed` as ever",
      "第一遍資料的列順序，由 `tessera balance --order` 寫出；其後各遍仍由 `seed` 打亂",
    ),
  }),
]);

export const screen = z.strictObject({
  nearDuplicate: key(
    z.number().min(0.3).max(1).default(0.6),
    "similarity from which two samples are near duplicates",
    "視為近似重複的相似度",
  ),
  train: key(
    z.int().min(1).optional(),
    "problems to train on, chosen to the quotas; all that are left when absent",
    "依配額選出的訓練題數；省略為全部",
  ),
  replay: key(
    z.number().min(0).max(0.9).default(0.1),
    "share of general text among the training tokens, against forgetting",
    "訓練詞元中通用文本的比例，防止遺忘",
  ),
  quotas: key(
    z.record(z.string(), share()).optional(),
    "share of each `family`, `difficulty` or `language` label in the selection, e.g. `language=zh: 0.5`",
    "各 `family`、`difficulty`、`language` 標籤在選集中的比例，例如 `language=zh: 0.5`",
  ),
});

export const evaluate = z.strictObject({
  problems: key(
    z.int().min(1).default(200),
    "held-out problems that both models answer",
    "兩個模型作答的測試題數",
  ),
  maxNewTokens: key(z.int().min(1).default(256), "longest answer", "答案最長詞元數"),
  batch: key(z.int().min(1).default(64), "answers generated at once", "同時生成的答案數"),
  retention: key(
    z
      .strictObject({
        data: key(
          z.string().min(1).optional(),
          "general text to check that nothing was forgotten; the shipped one when absent",
          "檢查未遺忘的通用文本；省略則用內附",
        ),
        margin: key(
          z.number().min(0).default(0.05),
          "largest relative rise of its perplexity",
          "困惑度相對上升的上限",
        ),
      })
      .prefault({}),
    "retention of what the base model knew",
    "保持基礎模型既有能力",
  ),
  gate: key(
    z
      .strictObject({
        confidence: key(z.number().gt(0).lt(1).default(0.95), "confidence of the intervals", "區間信心水準"),
        minimumLift: key(
          z.number().default(0),
          "the paired interval must lie above this",
          "成對差區間須高於此值",
        ),
      })
      .prefault({}),
    "what a checkpoint must show to pass",
    "檢查點通過的條件",
  ),
});

export const exportTo = z.strictObject({
  dtype: key(
    z.enum(["float32", "bfloat16"]).optional(),
    "number format of the weights on disk; the trained one when absent",
    "權重在磁碟上的數值格式；省略則與訓練相同",
  ),
  maxShardBytes: key(
    z
      .int()
      .min(1024)
      .default(4 * 1024 ** 3),
    "largest weight file",
    "單一權重檔上限",
  ),
});

export const report = z.strictObject({
  languages: key(
    z
      .array(z.enum(["en", "zh"]))
      .min(1)
      .default(["en", "zh"]),
    "languages of the report",
    "報告語言",
  ),
});
