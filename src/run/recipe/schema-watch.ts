import { z } from "zod";
import { key } from "../../base/schema.ts";

const remedy = () => z.enum(["restart", "stop"]).default("restart");

/** Rules of the night watch. A remedy is taken only while its budget lasts; then the run stops with a verdict. */
export const watch = z.strictObject({
  restarts: key(
    z.int().min(0).default(8),
    "restarts in a row that brought no new checkpoint before the run stops; progress refills the budget",
    "連續重啟而無新檢查點的上限，超過即停止；有進展則恢復預算",
  ),
  totalRestarts: key(z.int().min(0).default(100), "restarts of the whole run", "整個任務的重啟上限"),
  rankCrash: key(
    z
      .strictObject({
        remedy: key(
          remedy(),
          "`restart` from the last good checkpoint, or `stop`",
          "`restart` 從最後完好的檢查點重啟，或 `stop`",
        ),
      })
      .prefault({}),
    "a rank ended that should not have",
    "進程意外結束",
  ),
  agentLost: key(
    z
      .strictObject({
        remedy: key(remedy(), "`restart` with a new agent, or `stop`", "`restart` 換新代理重啟，或 `stop`"),
        silenceSeconds: key(
          z.number().positive().default(15),
          "silence after which an agent counts as lost",
          "代理靜默多久視為失聯",
        ),
      })
      .prefault({}),
    "a node's agent died or fell silent",
    "節點代理死亡或失聯",
  ),
  hang: key(
    z
      .strictObject({
        remedy: key(
          remedy(),
          "`restart` from the last good checkpoint, or `stop`",
          "`restart` 從最後完好的檢查點重啟，或 `stop`",
        ),
        factor: key(
          z.number().min(2).default(8),
          "a step may take this many times the slowest of the last 50",
          "一步最多為近 50 步最慢者的幾倍",
        ),
        floorSeconds: key(
          z.number().positive().default(10),
          "never call a hang before this",
          "低於此時間不判定停滯",
        ),
        startSeconds: key(
          z.number().positive().default(600),
          "longest wait for the first step of an attempt",
          "每次啟動首步的最長等待",
        ),
      })
      .prefault({}),
    "no step was finished in the time learned from the steps before",
    "超過由先前步時學得的時限而無進展",
  ),
  notFinite: key(
    z
      .strictObject({
        remedy: key(
          remedy(),
          "`restart` once in case it was a passing fault, or `stop` at once",
          "`restart` 重試一次以防偶發故障，或立即 `stop`",
        ),
      })
      .prefault({}),
    "the loss or gradient norm is NaN or infinite; twice at the same step is a stop",
    "損失或梯度範數為 NaN 或無窮；同一步兩次即停止",
  ),
  disk: key(
    z
      .strictObject({
        checkpoints: key(
          z.number().min(0).default(2),
          "room that must stay free, in checkpoints",
          "須保留的空間，以檢查點份數計",
        ),
        floorBytes: key(
          z
            .int()
            .min(0)
            .default(256 * 1024 * 1024),
          "room that must stay free, in bytes",
          "須保留的空間（位元組）",
        ),
        forecastSeconds: key(
          z.number().min(0).default(600),
          "warn when the trend reaches the floor this soon",
          "趨勢在此時間內觸底即告警",
        ),
      })
      .prefault({}),
    "the disk of the run folder is nearly full: older checkpoints are pruned, then the run stops with a checkpoint",
    "任務資料夾所在磁碟將滿：先刪較舊檢查點，再保存並停止",
  ),
});
