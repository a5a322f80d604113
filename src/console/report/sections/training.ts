import { both, key, label, missing, section, t } from "../html.ts";
import { type ChartInput, chartSvg } from "../page/chart.ts";
import { shortNumber } from "../page/scale.ts";
import { TEXTS } from "../texts.ts";
import type { Curve, ReportInput, TrainingPart } from "../types.ts";

/** Chart inputs by name, for the page's script and for drawing here. */
export function chartInputs({ training, experts }: ReportInput): Record<string, ChartInput> {
  const out: Record<string, ChartInput> = {};
  if (training) for (const curve of training.curves) out[curve.key] = chartOf(curve, training);
  if (experts && experts.ratio.length > 0) {
    const line = (pick: (one: { worst: number; mean: number }) => number) =>
      experts.ratio.map((one) => [one.step, pick(one), pick(one), pick(one), 0] as const);
    out["expertRatio"] = {
      lines: [
        { points: line((one) => one.worst), dashed: false },
        { points: line((one) => one.mean), dashed: true },
      ],
      lost: [],
      marks: [],
      level: experts.bound,
      log: false,
    };
  }
  const ranks = experts?.balance?.ranks ?? [];
  if (ranks.length > 0) {
    const line = (pick: (one: (typeof ranks)[number]) => number | null) =>
      ranks.map((one) => [one.step, pick(one), pick(one), pick(one), 0] as const);
    out["rankBalance"] = {
      lines: [
        { points: line((one) => one.realised), dashed: false },
        { points: line((one) => one.bound), dashed: true },
      ],
      lost: [],
      marks: [],
      level: ranks.findLast((one) => one.planned !== null)?.planned ?? null,
      log: false,
    };
  }
  return out;
}

const chartOf = (curve: Curve, training: TrainingPart): ChartInput => ({
  lines: [{ points: curve.points, dashed: false }],
  lost: curve.lost,
  marks: training.marks.map(({ step, kind }) => ({ step, kind })),
  level: null,
  log: curve.log,
});

export function trainingSection(input: ReportInput): string {
  const { training } = input;
  if (!training || training.curves.length === 0) return section("training", "training", missing());
  const charts = chartInputs(input);
  const figures = training.curves.map((curve) => {
    const first = curve.points[0];
    const last = curve.points.at(-1);
    const params = { first: first?.[0] ?? 0, last: last?.[0] ?? 0 };
    const help = {
      en: TEXTS.chartHelp.en.replace("{title}", curve.title.en),
      zh: TEXTS.chartHelp.zh.replace("{title}", curve.title.zh),
    };
    return `<figure class="chart" data-chart="${curve.key}">
      <figcaption><b>${both(curve.title)}</b>${curve.unit ? `<span class="quiet"> ${curve.unit}</span>` : ""}
        <label class="log"><input type="checkbox"${curve.log ? " checked" : ""}>${t("logAxis")}</label></figcaption>
      <p class="read" role="status">${t("stepAt", { step: last?.[0] ?? 0 })}: ${shortNumber(last?.[3] ?? Number.NaN)}</p>
      <div class="plot" tabindex="0" role="img" ${label(help, params)}>${chartSvg(charts[curve.key] as ChartInput, 480)}</div></figure>`;
  });
  const has = (kind: "fault" | "checkpoint") => training.marks.some((mark) => mark.kind === kind);
  const entries = [
    has("fault") ? key("k-fault", t("fault")) : "",
    has("checkpoint") ? key("k-save", t("checkpoint")) : "",
    training.curves.some((curve) => curve.lost.length > 0) ? key("k-lost", t("lostSteps")) : "",
  ];
  const legend = `<p class="legend">${entries.join("")}</p>`;
  return section(
    "training",
    "training",
    `<div class="charts">${figures.join("")}</div>${legend}`,
    t("trainingLead"),
  );
}
