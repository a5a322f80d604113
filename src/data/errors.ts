import { catalog, EXIT } from "../base/index.ts";

export const fail = catalog({
  DATA_TOKENIZER: {
    exit: EXIT.usage,
    message: { en: "this tokenizer cannot be used: {detail}", zh: "無法使用這個分詞器：{detail}" },
    next: { en: "tessera data produce   (trains one)", zh: "tessera data produce   （會訓練一個）" },
  },
  DATA_TENSORS: {
    exit: EXIT.failedRun,
    message: { en: "the tensor file is damaged: {detail}", zh: "張量檔已損壞：{detail}" },
    next: { en: "delete its folder and run tessera data again", zh: "刪除其資料夾後重新執行 tessera data" },
  },
  DATA_ROW: {
    exit: EXIT.failedRun,
    message: { en: "a row that is no sample: {detail}", zh: "不是樣本的資料列：{detail}" },
    next: { en: "mend or delete the line", zh: "修正或刪除該行" },
  },
  DATA_STEP: {
    exit: EXIT.failedRun,
    message: { en: "finished step {step} is damaged: {detail}", zh: "已完成的步驟 {step} 已損壞：{detail}" },
    next: {
      en: "delete the folder {folder} and run again: only that step is redone",
      zh: "刪除資料夾 {folder} 後再執行：只會重做該步驟",
    },
  },
  DATA_FOLDER: {
    exit: EXIT.usage,
    message: {
      en: "{folder} holds no data: data.json is missing",
      zh: "{folder} 中沒有資料：缺少 data.json",
    },
    next: { en: "tessera data pack --out {folder}", zh: "tessera data pack --out {folder}" },
  },
  DATA_RECIPE: {
    exit: EXIT.usage,
    message: { en: "the data part does not hold: {detail}", zh: "資料設定有誤：{detail}" },
    next: { en: "tessera data --help", zh: "tessera data --help" },
  },
  DATA_SAMPLE: {
    exit: EXIT.usage,
    message: { en: "no sample {id} in {folder}", zh: "{folder} 中沒有樣本 {id}" },
    next: { en: "tessera data show {folder}", zh: "tessera data show {folder}" },
  },
});
