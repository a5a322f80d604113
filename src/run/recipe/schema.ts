import { z } from "zod";
import { key } from "../../base/schema.ts";
import { balance } from "./schema-balance.ts";
import { layout } from "./schema-layout.ts";
import { data, evaluate, exportTo, report, screen } from "./schema-loop.ts";
import { batch, checkpoint, moe, objectives, optimizer, precision } from "./schema-train.ts";
import { watch } from "./schema-watch.ts";

const name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/);

const model = z.strictObject({
  base: key(
    z.string().min(1),
    "Hugging Face folder of the model to start from (config, tokenizer, weights); relative to the recipe",
    "起點模型的 Hugging Face 資料夾（設定、分詞器、權重），相對於配方檔",
  ),
  init: key(
    z.enum(["hf", "random"]).default("hf"),
    "`hf` loads the folder's weights; `random` draws them from `seed` and needs only config and tokenizer",
    "`hf` 載入資料夾內的權重；`random` 由 `seed` 隨機產生，只需設定與分詞器",
  ),
  freeze: key(
    z.array(z.string().min(1)).default([]),
    "parameter names (or prefixes) that do not train; full-parameter training is the empty list",
    "不訓練的參數名稱（或前綴）；空清單即全參數訓練",
  ),
});

const stage = z.strictObject({
  kind: key(
    z.enum(["cpt", "sft"]),
    "what the stage trains: `cpt` continues pre-training on every token, `sft` learns answers only",
    "階段種類：`cpt` 對所有詞元續訓，`sft` 只學答案",
  ),
  steps: key(z.int().min(1), "optimizer updates", "優化器更新次數"),
});

/** The whole recipe. Unknown keys are errors everywhere. */
export const recipeSchema = z.strictObject({
  name: key(
    name,
    "short name of the run; its folder is `runs/<name>/<id>`",
    "任務簡稱；資料夾為 `runs/<name>/<id>`",
  ),
  seed: key(
    z
      .int()
      .min(0)
      .max(2 ** 31 - 1)
      .default(17),
    "seed of every random choice",
    "所有隨機選擇的種子",
  ),
  deterministic: key(
    z.boolean().default(true),
    "same bits on every run of the same recipe on the same layout",
    "相同配方與佈局每次得到相同的位元",
  ),
  model: key(model, "the model that trains", "要訓練的模型"),
  data: key(
    data.optional(),
    "where samples come from: produced by a domain, or read from files",
    "樣本來源：由領域產生，或讀取檔案",
  ),
  screen: key(
    screen.prefault({}),
    "duplicates, decontamination, quotas, packing",
    "去重、去污染、配額、裝箱",
  ),
  layout: key(
    layout.default("auto"),
    "`auto` lets the planner choose for this machine; or the exact parallel layout",
    "`auto` 由規劃器為本機選擇；或明確給出並行佈局",
  ),
  stages: key(
    z.array(stage).min(1).max(1),
    "training stages in order (one in this version)",
    "訓練階段，依序執行（本版一個）",
  ),
  batch: key(batch, "how many tokens a step sees", "每步看到多少詞元"),
  precision: key(precision.prefault({}), "number formats", "數值格式"),
  optimizer: key(optimizer, "AdamW and its schedule", "AdamW 與其排程"),
  moe: key(moe.prefault({}), "what keeps the experts balanced", "專家平衡"),
  balance: key(
    balance.prefault({}),
    "moving experts between ranks as the run goes",
    "訓練中在進程間搬動專家",
  ),
  objectives: key(objectives.prefault({}), "losses besides the next token", "下一詞元以外的損失"),
  checkpoint: key(checkpoint.prefault({}), "when to save and how many to keep", "何時保存、保留幾份"),
  watch: key(watch.prefault({}), "the night watch: rules, remedies, budgets", "守夜：規則、處置、預算"),
  evaluate: key(
    evaluate.optional(),
    "how the effect is measured and what the gate asks",
    "如何量測效果與閘門條件",
  ),
  export: key(exportTo.optional(), "the open checkpoint that leaves", "輸出的開放檢查點"),
  report: key(report.prefault({}), "the report of the run", "任務報告"),
});

/** A recipe with every default filled in. */
export type Recipe = z.output<typeof recipeSchema>;
