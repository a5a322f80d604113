import { catalog, EXIT } from "../../base/index.ts";

export const fail = catalog({
  OR_LP_SYNTAX: {
    exit: EXIT.failedRun,
    message: {
      en: "model text: found {found}, expected {expected}",
      zh: "模型文字：遇到 {found}，應為 {expected}",
    },
    next: {
      en: "read the answer beside its place; the format is in src/domains/or/lp.ts",
      zh: "到該位置查看答案；格式見 src/domains/or/lp.ts",
    },
  },
  OR_LP_SIZE: {
    exit: EXIT.failedRun,
    message: {
      en: "model text has {count} {what}, the limit is {limit}",
      zh: "模型文字有 {count} 個 {what}，上限為 {limit}",
    },
    next: { en: "split the problem, or raise LP_LIMITS", zh: "拆小問題，或提高 LP_LIMITS" },
  },
  OR_SOLVER: {
    exit: EXIT.environment,
    message: { en: "the HiGHS solver does not start: {detail}", zh: "HiGHS 求解器無法啟動：{detail}" },
    next: { en: "npm ci", zh: "npm ci" },
  },
  OR_B4O_PATH: {
    exit: EXIT.usage,
    message: {
      en: "{path} is no B4O folder: {missing} is missing",
      zh: "{path} 不是 B4O 資料夾：缺少 {missing}",
    },
    next: {
      en: "tessera eval --benchmark b4o --path FOLDER (with test.jsonl and lp_code/)",
      zh: "tessera eval --benchmark b4o --path 資料夾（內有 test.jsonl 與 lp_code/）",
    },
  },
  OR_B4O_LINE: {
    exit: EXIT.usage,
    message: { en: "a problem that cannot be read: {detail}", zh: "無法讀取的題目：{detail}" },
    next: { en: "mend the line, or take the file as it was published", zh: "修正該行，或使用原始發布的檔案" },
  },
});
