import { catalog, EXIT } from "../base/index.ts";

/** Expected failures of measuring. */
export const fail = catalog({
  EVAL_NO_ITEMS: {
    exit: EXIT.usage,
    message: {
      en: "there is nothing to measure: {file} holds no items",
      zh: "沒有可測量的題目：{file} 是空的",
    },
    next: { en: "tessera data --help", zh: "tessera data --help" },
  },
  EVAL_LINE: {
    exit: EXIT.usage,
    message: { en: "not a usable line: {why}", zh: "此行無法使用：{why}" },
    next: {
      en: "mend or remove the line, then run the same command again",
      zh: "修正或刪除該行，再執行同一命令",
    },
  },
  EVAL_DUPLICATE: {
    exit: EXIT.usage,
    message: { en: "id {id} appears twice in {what}", zh: "{what} 中編號 {id} 出現兩次" },
    next: { en: "keep one of the two lines", zh: "兩行只留一行" },
  },
  EVAL_MISSING: {
    exit: EXIT.usage,
    message: {
      en: "{count} of {total} items have no {what}, the first is {id}",
      zh: "{total} 題中有 {count} 題缺少{what}，第一題是 {id}",
    },
    next: {
      en: "run the same command again: only what is missing is made",
      zh: "再次執行同一命令：只會補上缺少的部分",
    },
  },
  EVAL_UNKNOWN: {
    exit: EXIT.usage,
    message: {
      en: "{what} has id {id}, which is not among the items",
      zh: "{what} 有編號 {id}，但題目中沒有",
    },
    next: {
      en: "compare only answers to the same frozen items",
      zh: "只能比較對同一組固定題目的回答",
    },
  },
  EVAL_NUMBER: {
    exit: EXIT.failedRun,
    message: { en: "{what} is {value}, not a finite number", zh: "{what} 為 {value}，不是有限數" },
    next: {
      en: "look at the row that is named; a model that gives NaN is broken",
      zh: "檢查所指的列；輸出 NaN 的模型已損壞",
    },
  },
  EVAL_ENGINE: {
    exit: EXIT.failedRun,
    message: {
      en: "the engine stopped while it was {doing} with {model} (exit {exit}): {tail}",
      zh: "引擎在以 {model} {doing}時停止（結束碼 {exit}）：{tail}",
    },
    next: {
      en: "run the same command again: finished answers are kept",
      zh: "再次執行同一命令：已完成的回答會保留",
    },
  },
  EVAL_START: {
    exit: EXIT.environment,
    message: { en: "cannot start {command}: {why}", zh: "無法啟動 {command}：{why}" },
    next: { en: "tessera doctor", zh: "tessera doctor" },
  },
  EVAL_FILE: {
    exit: EXIT.usage,
    message: { en: "cannot read {what}: {why}", zh: "無法讀取{what}：{why}" },
    next: { en: "check the path", zh: "請檢查路徑" },
  },
});
