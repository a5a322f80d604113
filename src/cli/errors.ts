import { catalog, EXIT } from "../base/index.ts";

/** Failures that verbs meet before their own work starts. */
export const cliFail = catalog({
  CLI_FILE: {
    exit: EXIT.usage,
    message: { en: "cannot read {file}: {why}", zh: "無法讀取 {file}：{why}" },
    next: { en: "check the path and its rights: ls -l {file}", zh: "請檢查路徑與權限：ls -l {file}" },
  },
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
});
