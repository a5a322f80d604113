import { formatBytes, formatSeconds, say, type Text } from "../base/index.ts";
import {
  type JournalEvent,
  PHASES,
  type PhaseName,
  type RunState,
  runError,
  isRunError,
  type Verdict,
} from "../run/index.ts";
import type { Context } from "./context.ts";

const PHASE: Readonly<Record<string, Text>> = {
  data: { en: "data", zh: "資料" },
  screen: { en: "screen", zh: "篩選" },
  plan: { en: "plan", zh: "佈局" },
  train: { en: "train", zh: "訓練" },
  measure: { en: "measure", zh: "量測" },
  export: { en: "export", zh: "輸出" },
  report: { en: "report", zh: "報告" },
};

/** A phase's name in the user's language. */
export const phaseName = (context: Context, phase: string): string =>
  context.say(PHASE[phase] ?? { en: phase, zh: phase });

/** A verdict as a sentence: the message of its code. */
export function verdictText(
  context: Context,
  { code, params }: Verdict,
  more: Readonly<Record<string, string>> = {},
): string {
  const all = { ...more, ...params };
  if (!isRunError(code)) return `${code} ${JSON.stringify(params)}`;
  const { entry } = runError(code, all);
  return `${code}: ${say(entry.message, context.lang, all)}`;
}

/** One journal event as a line for a person; nothing for those that only matter to the machine. `terse` keeps to what went wrong. */
export function eventText(context: Context, event: JournalEvent, terse: boolean): string | null {
  const tell = (en: string, zh: string, params: Readonly<Record<string, string | number>> = {}) =>
    context.say({ en, zh }, params);
  switch (event.kind) {
    case "alarm": {
      const { code, evidence } = event.alarm;
      return tell("! alarm {id}: {text}", "！告警 {id}：{text}", {
        id: event.id,
        text: verdictText(context, { code, params: evidence }),
      });
    }
    case "remedy":
      switch (event.remedy.do) {
        case "restart":
          return tell("  remedy: restart from the newest checkpoint", "  處置：從最新檢查點重啟");
        case "prune":
          return tell(
            "  remedy: older checkpoints removed, {keep} kept",
            "  處置：刪除較舊的檢查點，保留 {keep} 份",
            { keep: event.remedy.keep },
          );
        case "stop":
          return tell("  remedy: save and stop", "  處置：保存並停止");
        case "fail":
          return tell("  verdict: the run stops", "  判定：任務停止");
        default:
          return event.remedy satisfies never;
      }
    case "recovered":
      return tell(
        "  healed in {seconds} at step {step}; {redone} steps done again",
        "  {seconds} 後於第 {step} 步恢復；重做 {redone} 步",
        {
          seconds: formatSeconds(event.seconds),
          step: event.step,
          redone: event.redone,
        },
      );
    case "adopted":
      return tell(
        "  ranks of attempt {attempt} are at work: taken over",
        "  第 {attempt} 次嘗試的進程仍在工作：已接管",
        { attempt: event.attempt },
      );
    case "balance":
      return event.action === "act"
        ? `  ⇄ ${context.say(event.line)}`
        : terse
          ? null
          : context.say(event.line);
    case "memoryForecast":
      return event.action === "none" ? null : `! ${context.say(event.line)}`;
    case "balanceLost":
      return `! ${verdictText(context, event.verdict)}`;
    case "stopAsked":
      return event.now
        ? tell("stopping now", "立即停止")
        : tell(
            "stopping: saving a checkpoint first (Ctrl-C again stops at once)",
            "停止中：先保存檢查點（再按 Ctrl-C 立即停止）",
          );
    default:
      return terse ? null : quietEvent(event, context, tell);
  }
}

function quietEvent(
  event: JournalEvent,
  context: Context,
  tell: (en: string, zh: string, params?: Readonly<Record<string, string | number>>) => string,
): string | null {
  switch (event.kind) {
    case "created":
      return tell("run {run} of {name} created", "建立任務 {name}／{run}", {
        run: event.run,
        name: event.name,
      });
    case "controller":
      return tell("controller {epoch}: pid {pid} on {host}", "控制器 {epoch}：{host} 上的 pid {pid}", event);
    case "phase":
      return tell("phase {phase} begins", "階段 {phase} 開始", event);
    case "phaseDone":
      return tell("phase {phase} done in {took}", "階段 {phase} 完成，用時 {took}", {
        phase: event.phase,
        took: formatSeconds(event.seconds),
      });
    case "phaseFailed":
      return tell("phase {phase} failed: {code}", "階段 {phase} 失敗：{code}", {
        phase: event.phase,
        code: event.verdict.code,
      });
    case "agentStart":
      return tell(
        "agent {agent} is started (number {instance})",
        "啟動代理 {agent}（第 {instance} 個）",
        event,
      );
    case "agentJoined":
      return tell(
        "agent {agent} joined: pid {pid} on {host}",
        "代理 {agent} 加入：{host} 上的 pid {pid}",
        event,
      );
    case "agentLost":
      return tell("agent {agent} lost: {why}", "代理 {agent} 失聯：{why}", event);
    case "attempt":
      return tell(
        "attempt {attempt}: {world} ranks, from step {fromStep}",
        "第 {attempt} 次嘗試：{world} 個進程，從第 {fromStep} 步",
        event,
      );
    case "rankExited":
      return tell(
        "rank {rank} ended: code {code}, signal {signal}",
        "進程 {rank} 結束：代碼 {code}，信號 {signal}",
        {
          rank: event.rank,
          code: event.code ?? "-",
          signal: event.signal ?? "-",
        },
      );
    case "checkpoint":
      return tell("checkpoint of step {step}: {size} in {took}", "第 {step} 步檢查點：{size}，用時 {took}", {
        step: event.step,
        size: formatBytes(event.bytes),
        took: formatSeconds(event.seconds),
      });
    case "relocated":
      return event.ok
        ? tell(
            "experts moved after step {step}: {size} in {took}",
            "第 {step} 步後專家已搬動：{size}，用時 {took}",
            {
              step: event.step,
              size: formatBytes(event.bytes),
              took: formatSeconds(event.seconds),
            },
          )
        : tell("experts did not move: {why}", "專家未搬動：{why}", { why: event.why ?? "" });
    case "balanceGain":
      return tell(
        "the move saves {saved} a step: {before} → {after}, busiest rank {from} → {to} of the mean; paid back in {payback} steps",
        "搬動每步省 {saved}：{before} → {after}，最忙進程為平均的 {from} → {to}；{payback} 步回本",
        {
          saved: formatSeconds(event.savedSecondsPerStep),
          before: formatSeconds(event.before.stepSeconds),
          after: formatSeconds(event.after.stepSeconds),
          from: event.before.slowest.toFixed(3),
          to: event.after.slowest.toFixed(3),
          payback: event.paybackSteps?.toFixed(1) ?? "∞",
        },
      );
    case "placed":
      return context.say(event.line);
    case "trained":
      return tell("trained to step {step}", "訓練至第 {step} 步", event);
    case "ended":
      return tell("ended: {outcome} {code}", "結束：{outcome} {code}", {
        outcome: event.outcome,
        code: event.verdict?.code ?? "",
      });
    default:
      return null;
  }
}

/** The phase that runs or failed, else the last one that is done. */
export function currentPhase(state: RunState): PhaseName | null {
  const known = PHASES.filter((name) => state.phases[name]);
  return known.find((name) => state.phases[name]?.state !== "done") ?? known.at(-1) ?? null;
}
