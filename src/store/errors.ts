import { catalog, EXIT } from "../base/index.ts";

/** Expected failures of reading what a run measured. */
export const fail = catalog({
  STORE_SHAPE: {
    exit: EXIT.failedRun,
    message: {
      en: "series {name} is {was}, and cannot take {now}",
      zh: "序列 {name} 為 {was}，不能寫入 {now}",
    },
    next: {
      en: "the run's telemetry mixes two models: give the other one a run of its own",
      zh: "此任務的遙測混有兩個模型：請讓另一個模型使用自己的任務",
    },
  },
  STORE_NO_SERIES: {
    exit: EXIT.usage,
    message: { en: "there is no series {name}", zh: "沒有序列 {name}" },
    next: { en: "look at the names that are there: {names}", zh: "已有的名稱：{names}" },
  },
});
