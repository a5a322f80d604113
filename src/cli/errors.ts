import { catalog, EXIT } from "../base/index.ts";

/** Failures that any verb can meet before its own work starts. */
export const cliFail = catalog({
  CLI_FILE: {
    exit: EXIT.usage,
    message: { en: "cannot read {file}: {why}", zh: "無法讀取 {file}：{why}" },
    next: { en: "check the path and its rights: ls -l {file}", zh: "請檢查路徑與權限：ls -l {file}" },
  },
});
