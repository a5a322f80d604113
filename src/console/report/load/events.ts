import type { Text } from "../../../base/index.ts";
import type { Alarm, JournalEvent, PhaseName, Remedy } from "../../../run/index.ts";
import type { Mark, ReportInput, RunOutcome, TimelineEvent } from "../types.ts";

const PHASE_NAMES: Readonly<Record<PhaseName, Text>> = {
  data: { en: "produce data", zh: "產生資料" },
  screen: { en: "screen and pack", zh: "篩選與裝箱" },
  plan: { en: "lay out", zh: "佈局" },
  train: { en: "train", zh: "訓練" },
  measure: { en: "measure", zh: "測量" },
  export: { en: "export", zh: "匯出" },
  report: { en: "report", zh: "報告" },
};
const RULE_NAMES: Readonly<Record<Alarm["rule"], Text>> = {
  rankCrash: { en: "rank crash", zh: "進程崩潰" },
  agentLost: { en: "agent lost", zh: "代理失聯" },
  hang: { en: "no progress", zh: "沒有進展" },
  notFinite: { en: "loss is not a number", zh: "損失非數值" },
  disk: { en: "disk nearly full", zh: "磁碟將滿" },
  startFailed: { en: "start failed", zh: "啟動失敗" },
};

/** What the journal tells for the report: the timeline, marks on the charts, and how the run ended. */
export function readEvents(events: readonly JournalEvent[]): Pick<ReportInput, "timeline"> & {
  readonly marks: Mark[];
  readonly outcome: RunOutcome;
  readonly started: number | null;
  readonly finished: number | null;
  /** Seconds of the training phase, all its stretches together. */
  readonly trainSeconds: number | null;
} {
  const timeline: TimelineEvent[] = [];
  const marks: Mark[] = [];
  let outcome: RunOutcome = "running";
  let finished: number | null = null;
  let open: { phase: PhaseName; t: number } | null = null;
  let train = 0;
  const close = (t: number) => {
    if (!open) return;
    timeline.push(event(open.t, "phase", PHASE_NAMES[open.phase], { end: t }));
    if (open.phase === "train") train += t - open.t;
    open = null;
  };
  for (const one of events) {
    const { t } = one;
    switch (one.kind) {
      case "phase":
        close(t);
        open = { phase: one.phase, t };
        break;
      case "phaseDone":
        close(t);
        break;
      case "phaseFailed":
        close(t);
        timeline.push(
          event(
            t,
            "note",
            { en: `${one.phase} failed`, zh: `${PHASE_NAMES[one.phase].zh}失敗` },
            { detail: plain(one.verdict.code) },
          ),
        );
        break;
      case "controller":
        close(lastBefore(events, one) ?? t);
        outcome = "running";
        finished = null;
        if (one.epoch > 1) {
          timeline.push(
            event(
              t,
              "remedy",
              { en: "the supervisor was started again", zh: "監督程序已重新啟動" },
              { detail: { en: `time ${one.epoch}`, zh: `第 ${one.epoch} 次` } },
            ),
          );
        }
        break;
      case "attempt":
        timeline.push(
          event(
            t,
            "note",
            {
              en: `attempt ${one.attempt} with ${one.world} ranks`,
              zh: `第 ${one.attempt} 次嘗試，${one.world} 個進程`,
            },
            { step: one.fromStep },
          ),
        );
        break;
      case "adopted":
        timeline.push(event(t, "remedy", { en: "living ranks were taken over", zh: "接管仍在執行的進程" }));
        break;
      case "rankExited":
        if (one.code !== 0) timeline.push(event(t, "note", exitText(one.rank, one.code, one.signal)));
        break;
      case "agentLost":
        timeline.push(
          event(
            t,
            "note",
            { en: `agent ${one.agent} lost`, zh: `代理 ${one.agent} 失聯` },
            { detail: plain(one.why) },
          ),
        );
        break;
      case "alarm": {
        const recovered = events.find((later) => later.kind === "recovered" && later.id === one.id);
        const end = recovered?.kind === "recovered" ? recovered.t : null;
        const from = recovered?.kind === "recovered" ? Math.min(t, recovered.t - recovered.seconds) : t;
        timeline.push(event(from, "fault", faultText(one.alarm), { end, step: one.alarm.step }));
        timeline.push(
          event(t, "alarm", RULE_NAMES[one.alarm.rule], {
            detail: evidence(one.alarm),
            step: one.alarm.step,
          }),
        );
        if (one.alarm.step !== null)
          marks.push({ step: one.alarm.step, kind: "fault", label: faultText(one.alarm) });
        break;
      }
      case "remedy":
        timeline.push(event(t, "remedy", remedyText(one.remedy)));
        break;
      case "recovered":
        timeline.push(
          event(
            t,
            "healed",
            { en: "first new step", zh: "首個新步" },
            {
              step: one.step,
              detail: { en: `${one.redone} steps trained again`, zh: `重訓 ${one.redone} 步` },
            },
          ),
        );
        break;
      case "checkpoint":
        timeline.push(
          event(
            t,
            "checkpoint",
            { en: `checkpoint of step ${one.step}`, zh: `第 ${one.step} 步檢查點` },
            { step: one.step },
          ),
        );
        marks.push({ step: one.step, kind: "checkpoint", label: { en: "checkpoint", zh: "檢查點" } });
        break;
      case "balanceLost":
        timeline.push(
          event(
            t,
            "note",
            { en: "no more moves of experts", zh: "不再搬動專家" },
            { detail: plain(String(one.verdict.params["why"])), step: one.step },
          ),
        );
        break;
      case "memoryForecast": {
        const kind = one.action === "none" ? "note" : "alarm";
        const title = { en: "memory of the busiest rank", zh: "最忙進程的記憶體" };
        timeline.push(event(t, kind, title, { detail: one.line, step: one.step }));
        break;
      }
      case "ended":
        close(t);
        outcome = one.outcome === "refused" ? "done" : one.outcome;
        finished = t;
        break;
      default:
        break;
    }
  }
  const last = events.at(-1)?.t ?? null;
  // The report is the last phase and is written in the middle of itself: all that it tells of is over.
  if (outcome === "running" && (open as { phase: PhaseName } | null)?.phase === "report") outcome = "done";
  if (last !== null) close(last);
  return {
    timeline: timeline.sort((a, b) => a.t - b.t),
    marks,
    outcome,
    started: events[0]?.t ?? null,
    finished: finished ?? last,
    trainSeconds: train > 0 ? train : null,
  };
}

const event = (
  t: number,
  kind: TimelineEvent["kind"],
  title: Text,
  more: Partial<Pick<TimelineEvent, "end" | "detail" | "step">> = {},
): TimelineEvent => ({ t, kind, title, end: null, detail: null, step: null, ...more });

const plain = (text: string): Text => ({ en: text, zh: text });

/** Time of the event before `one`: when a controller died, what it was doing ended with what it last wrote. */
function lastBefore(events: readonly JournalEvent[], one: JournalEvent): number | undefined {
  return events[events.indexOf(one) - 1]?.t;
}

function exitText(rank: number, code: number | null, signal: number | null): Text {
  return signal === null
    ? { en: `rank ${rank} ended with code ${code ?? "?"}`, zh: `進程 ${rank} 以代碼 ${code ?? "?"} 結束` }
    : { en: `rank ${rank} ended by signal ${signal}`, zh: `進程 ${rank} 被信號 ${signal} 終止` };
}

function faultText(alarm: Alarm): Text {
  const { en, zh } = RULE_NAMES[alarm.rule];
  if (alarm.rank !== null) return { en: `${en}: rank ${alarm.rank}`, zh: `${zh}：進程 ${alarm.rank}` };
  return alarm.agent === null ? { en, zh } : { en: `${en}: ${alarm.agent}`, zh: `${zh}：${alarm.agent}` };
}

const evidence = (alarm: Alarm): Text =>
  plain(
    Object.entries(alarm.evidence)
      .map(([name, value]) => `${name} ${value}`)
      .join(", "),
  );

function remedyText(remedy: Remedy): Text {
  switch (remedy.do) {
    case "restart":
      return { en: "restart from the newest good checkpoint", zh: "自最新的完好檢查點重啟" };
    case "prune":
      return {
        en: `remove old checkpoints, keep ${remedy.keep}`,
        zh: `刪除舊檢查點，保留 ${remedy.keep} 份`,
      };
    case "stop":
      return { en: `save and stop: ${remedy.verdict}`, zh: `保存並停止：${remedy.verdict}` };
    case "fail":
      return { en: `stop: ${remedy.verdict}`, zh: `停止：${remedy.verdict}` };
    default:
      return remedy satisfies never;
  }
}
