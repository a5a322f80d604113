import { catalog, EXIT } from "../../base/index.ts";

export const fail = catalog({
  REPORT_FOLDER: {
    exit: EXIT.usage,
    message: { en: "{path} is not a run folder: it has no journal", zh: "{path} 不是任務資料夾：沒有日誌" },
    next: { en: "tessera ps", zh: "tessera ps" },
  },
});
