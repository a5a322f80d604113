import type { Slice, VerdictCounts } from "../../../evaluate/index.ts";
import { VERDICTS } from "../../../evaluate/index.ts";
import { escape, key, label, percent, t } from "../html.ts";
import { TEXTS } from "../texts.ts";

/** Before and after of one group on a line from 0 to 100 %, each dot with its interval: small, for a row of a table. */
export function dumbbell(slice: Slice): string {
  const width = 150;
  const x = (share: number) => (6 + share * (width - 12)).toFixed(1);
  const mark = (side: "base" | "candidate", radius: number) => {
    const { value, low, high } = slice[side];
    return `<g class="d-${side}"><line class="ci" x1="${x(low)}" x2="${x(high)}" y1="11" y2="11"/><circle cx="${x(value)}" cy="11" r="${radius}"/></g>`;
  };
  return `<svg class="dumbbell" width="${width}" height="22" viewBox="0 0 ${width} 22" aria-hidden="true"><line class="grid" x1="${x(0)}" x2="${x(1)}" y1="11" y2="11"/><line class="link" x1="${x(slice.base.value)}" x2="${x(slice.candidate.value)}" y1="11" y2="11"/>${mark("base", 4)}${mark("candidate", 4.5)}</svg>`;
}

/** The same, large, with axis and numbers; in per cent of its box, so that its text keeps its size on any screen. */
export function shareAxis(slice: Slice, level: string): string {
  const at = (share: number) => `${(100 * share).toFixed(2)}%`;
  const ticks = [0, 0.25, 0.5, 0.75, 1]
    .map((share) => `<i class="tickline" style="left:${at(share)}"><span>${share * 100}\u00a0%</span></i>`)
    .join("");
  const mark = (side: "base" | "candidate") => {
    const { value, low, high } = slice[side];
    return `<i class="ci ci-${side}" style="left:${at(low)};width:${at(high - low)}"></i><i class="dot dot-${side}" style="left:${at(value)}"></i><b class="number n-${side}" style="left:${at(value)}">${percent(value)}</b>`;
  };
  const ends = [slice.base.value, slice.candidate.value].sort((a, b) => a - b) as [number, number];
  return `<div class="share" aria-hidden="true">${ticks}<i class="link" style="left:${at(ends[0])};width:${at(ends[1] - ends[0])}"></i>${mark("base")}${mark("candidate")}</div>
  <p class="legend">${key("k-base", t("baseModel"))}${key("k-candidate", t("candidateModel"))}<span class="quiet">${t("interval", { level })}</span></p>`;
}

/** What became of all answers of one model, as one bar. */
export function verdictBar(counts: VerdictCounts): string {
  const total = VERDICTS.reduce((sum, verdict) => sum + counts[verdict], 0);
  const parts = VERDICTS.filter((verdict) => counts[verdict] > 0).map((verdict) => {
    const share = counts[verdict] / total;
    return `<span class="v-${verdict}" style="flex:${counts[verdict]}" title="${escape(`${TEXTS[verdict].en} · ${TEXTS[verdict].zh}: ${counts[verdict]}`)}">${share > 0.06 ? counts[verdict] : ""}</span>`;
  });
  const words = (lang: "en" | "zh") =>
    VERDICTS.map((verdict) => `${TEXTS[verdict][lang]}: ${counts[verdict]}`).join(", ");
  return `<div class="stack" role="img" ${label({ en: words("en"), zh: words("zh") })}>${parts.join("")}</div>`;
}
