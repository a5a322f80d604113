import { catalog, EXIT } from "../base/index.ts";

/** Expected failures of the series store. */
export const fail = catalog({
  STORE_SHAPE: {
    exit: EXIT.failedRun,
    message: {
      en: "series {name} is {was}, and cannot take {now}",
      zh: "序列 {name} 為 {was}，不能寫入 {now}",
    },
    next: { en: "give the new shape a name of its own", zh: "請為新的形狀另取名稱" },
  },
  STORE_NO_SERIES: {
    exit: EXIT.usage,
    message: { en: "there is no series {name} in {folder}", zh: "{folder} 中沒有序列 {name}" },
    next: { en: "look at the names that are there: {names}", zh: "已有的名稱：{names}" },
  },
});
