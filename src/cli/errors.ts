import { catalog, EXIT } from "../base/index.ts";

export const cliFail = catalog({
  EVAL_OPTION: {
    exit: EXIT.usage,
    message: { en: "{option} is needed", zh: "需要 {option}" },
    next: {
      en: "tessera eval --base <folder> --candidate <folder> --items heldout.jsonl, or --benchmark b4o --path <folder>",
      zh: "tessera eval --base <資料夾> --candidate <資料夾> --items heldout.jsonl，或 --benchmark b4o --path <資料夾>",
    },
  },
  EVAL_PATH: {
    exit: EXIT.usage,
    message: { en: "there is no folder {path}", zh: "沒有資料夾 {path}" },
    next: { en: "give the folder that holds test.jsonl", zh: "請給出含 test.jsonl 的資料夾" },
  },
  REPORT_FOLDER: {
    exit: EXIT.usage,
    message: { en: "{path} is not a run folder: it has no journal", zh: "{path} 不是任務資料夾：沒有日誌" },
    next: { en: "tessera ps", zh: "tessera ps" },
  },
});
