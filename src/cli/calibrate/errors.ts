import { catalog, EXIT } from "../../base/index.ts";

export const calibrateFail = catalog({
  CALIBRATE_RANK_DIED: {
    exit: EXIT.failedRun,
    message: {
      en: "rank {rank} ended ({how}) while measuring {point}: {why}",
      zh: "量測 {point} 時進程 {rank} 結束（{how}）：{why}",
    },
    next: {
      en: "finished points are kept; run the same command again to go on",
      zh: "已完成的量測會保留；再執行一次同一命令即可繼續",
    },
  },
  CALIBRATE_START: {
    exit: EXIT.environment,
    message: { en: "the measuring program does not start: {why}", zh: "量測程式無法啟動：{why}" },
    next: { en: "tessera doctor", zh: "tessera doctor" },
  },
  CALIBRATE_SILENT: {
    exit: EXIT.failedRun,
    message: {
      en: "rank {rank} gave no answer for {seconds} s while measuring {point}",
      zh: "量測 {point} 時進程 {rank} 已 {seconds} 秒沒有回應",
    },
    next: {
      en: "check the device, then run the same command again: finished points are kept",
      zh: "請檢查裝置後再執行同一命令；已完成的量測會保留",
    },
  },
  CALIBRATE_INTERRUPTED: {
    exit: EXIT.interrupted,
    message: {
      en: "interrupted after {done} of {total} points; they are kept in {log}",
      zh: "已中斷：{total} 個量測點完成 {done} 個，保存在 {log}",
    },
    next: { en: "run the same command again to go on", zh: "再執行一次同一命令即可繼續" },
  },
  CALIBRATE_TOO_FEW: {
    exit: EXIT.failedRun,
    message: {
      en: "{done} points were measured in the given time, too few for a profile (no {missing})",
      zh: "在指定時間內只量測了 {done} 個點，不足以產生描述檔（缺少 {missing}）",
    },
    next: {
      en: "run the same command again: it goes on where it stopped; or give more --minutes",
      zh: "再執行同一命令即從中斷處繼續；或增加 --minutes",
    },
  },
  CALIBRATE_NUMBER: {
    exit: EXIT.usage,
    message: { en: "{option} takes {what}, not '{text}'", zh: "{option} 須為 {what}，而非「{text}」" },
    next: { en: "tessera calibrate --help", zh: "tessera calibrate --help" },
  },
});
