import { formatCount, formatSeconds } from "../../../base/index.ts";
import type { Evaluation } from "../../../evaluate/index.ts";
import { change, escape, percent, points, pValue, signed, t } from "../html.ts";
import type { TextKey } from "../texts.ts";
import type { ReportInput } from "../types.ts";
import { shareAxis } from "./marks.ts";

/** Sign of each outcome: a shape beside the word, so that colour is never the only signal. */
const SIGNS: Readonly<Record<string, string>> = {
  passed: "✓",
  done: "✓",
  refused: "✕",
  failed: "✕",
  inconclusive: "?",
  stopped: "■",
  running: "…",
};

/** The bar above: what this is, and the two switches. */
export const topBar = (): string => `
<header class="top">
  <p class="mark"><span class="logo" aria-hidden="true"><i></i><i></i><i></i><i></i></span>Tessera<span class="quiet"> · ${t("report")}</span></p>
  <div class="switches">
    <button type="button" id="language"><span class="en" lang="zh-Hant">中文</span><span class="zh" lang="en">English</span></button>
    <button type="button" id="theme">${t("theme")}</button>
  </div>
</header>`;

/** The effect in one line, with its interval, and the other figures that matter. */
export function headline(input: ReportInput): string {
  const { run, evaluation } = input;
  const state = run.outcome === "done" && evaluation ? evaluation.result.gate.verdict : run.outcome;
  const day = run.finished ?? run.started;
  return `
<div class="hero">
  <p class="run"><strong>${escape(run.name)}</strong> <span class="quiet">${escape(run.id)} · ${escape(run.stage)}${day === null ? "" : ` · ${new Date(day * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`}</span>
    <span class="state s-${state}"><span aria-hidden="true">${SIGNS[state] ?? ""}</span> ${t(state as TextKey)}</span></p>
  ${evaluation ? effectHero(evaluation.result) : `<h1 class="plain">${t("heroNone")}</h1>`}
  <dl class="tiles">${tiles(input).join("")}</dl>
</div>`;
}

function effectHero({ comparison }: Evaluation): string {
  const { overall, confidence } = comparison;
  const { value, low, high } = overall.difference;
  const params = {
    base: percent(overall.base.value),
    candidate: percent(overall.candidate.value),
    n: overall.n,
  };
  const level = String(Math.round(confidence * 1000) / 10);
  const key = value > 0 ? "heroBetter" : value < 0 ? "heroWorse" : "heroSame";
  return `
  <h1><span class="big">${signed(100 * value, 1)}</span> <span class="unit">${t("points")}</span></h1>
  <p class="sentence">${t(key, params)} <span class="quiet">${t("intervalOf", { level, low: points(low), high: points(high) })}</span></p>
  ${shareAxis(overall, level)}`;
}

function tiles(input: ReportInput): string[] {
  const { training, evaluation } = input;
  const out: string[] = [];
  const tile = (value: string, name: string, more = "") =>
    out.push(
      `<div><dt>${name}</dt><dd class="value">${value}</dd>${more ? `<dd class="more">${more}</dd>` : ""}</div>`,
    );
  if (evaluation) tile(pValue(evaluation.result.comparison.overall.p), t("tileP"));
  const retention = evaluation?.result.retention;
  if (evaluation && retention) {
    const { low, high, value } = retention.ratio;
    const margin = `${signed(100 * evaluation.result.gate.policy.retentionMargin, 0)}\u00a0%`;
    tile(
      change(value),
      t("tileRetention"),
      t("tileRetentionMore", { low: change(low), high: change(high), margin }),
    );
  }
  if (training) {
    const steps = training.steps;
    tile(
      training.seconds === null ? String(steps) : formatSeconds(training.seconds),
      t("tileTraining"),
      training.tokens === null
        ? t("tileStepsOnly", { steps })
        : t("tileSteps", { steps, tokens: formatCount(training.tokens) }),
    );
    if (training.effectiveRatio !== null) tile(percent(training.effectiveRatio), t("tileEttr"));
  }
  const healed = healings(input);
  if (training) {
    tile(
      String(healed.length),
      t("tileHealed"),
      healed.length > 0
        ? t("tileHealedIn", { seconds: formatSeconds(Math.max(...healed)) })
        : t("tileNoFault"),
    );
  }
  return out;
}

/** Seconds from each fault to the next step that counts, for faults that the run got over. */
export const healings = ({ timeline }: Pick<ReportInput, "timeline">): number[] =>
  timeline.flatMap((event) => (event.kind === "fault" && event.end !== null ? [event.end - event.t] : []));
