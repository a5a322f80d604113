import { z } from "zod";
import { key } from "../../base/schema.ts";

/** Live balancing of experts. Moves change no bit of the training, so none of these keys changes its result. */
export const balance = z.strictObject({
  mode: key(
    z.enum(["off", "advise", "on"]).default("on"),
    "`on` moves experts between ranks when it pays back, `advise` only says what it would do, `off` does not look",
    "`on`於能回本時在進程間搬動專家，`advise` 只說明會怎麼做，`off` 不觀察",
  ),
  every: key(z.int().min(2).default(20), "steps between decisions", "每隔幾步決定一次"),
  window: key(
    z.int().min(8).max(512).default(32),
    "newest steps that a decision looks at",
    "決定時所看的最近步數",
  ),
  safety: key(
    z.number().min(0).default(2),
    "a move must win this many times its cost within the steps that are left; 0: better balance is worth any cost, and need not show through the noise of the steps",
    "搬動在剩餘步數內須賺回成本的倍數；0 表示只要更平衡就不計成本，也不論各步的雜訊",
  ),
  linksEvery: key(
    z.int().min(0).default(100),
    "from the second step on, every so many steps the all-to-all runs link class by link class, each timed; 0: never",
    "自第二步起，每隔這麼多步 all-to-all 依鏈路類別逐一進行並計時；0 為從不",
  ),
  overlap: key(
    z.boolean().default(false),
    "experts travel while the next step begins, up to 256 MiB of a rank at a time; worth it where links are slow beside compute",
    "專家在下一步開始時才陸續到達，每個進程至多 256 MiB 在途；鏈路相對計算較慢時才值得",
  ),
  foresight: key(
    z.boolean().default(true),
    "before the first step, place experts of hash-routed layers by counting the training data",
    "首步之前，依訓練資料的計數放置雜湊路由層的專家",
  ),
  scanRows: key(
    z.int().min(0).default(0),
    "before the first step, run the base model forward over this many rows of the training data and place the experts of learned layers by what it chose; the model has to fit in one process. 0: no scan",
    "首步之前，以基礎模型對這麼多列訓練資料做前向，依其選擇放置學習式路由層的專家；模型須放得進一個進程。0 為不預掃",
  ),
  memoryBytes: key(
    z.int().min(1).nullable().default(null),
    "memory of a device that the guard keeps the busiest rank within; null turns the guard off",
    "守衛讓最忙進程不超過的加速器記憶體；null 為關閉",
  ),
  memoryQuantile: key(
    z.number().gt(0.5).lt(1).default(0.999),
    "chance for each micro-batch of staying below the guard's forecast",
    "每個微批次不超過守衛預測的機率",
  ),
});
