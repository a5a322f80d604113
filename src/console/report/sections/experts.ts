import { key, label, missing, section, t } from "../html.ts";
import { type ChartInput, chartSvg } from "../page/chart.ts";
import { loadColour } from "../page/colour.ts";
import { shortNumber } from "../page/scale.ts";
import { TEXTS } from "../texts.ts";
import type { ReportInput } from "../types.ts";
import { balanceBody } from "./balance.ts";
import { chartInputs } from "./training.ts";

export function expertsSection(input: ReportInput): string {
  const { experts } = input;
  if (!experts || experts.frames.length === 0) return section("experts", "experts", missing());
  const last = experts.frames.length - 1;
  const swatch = (ratio: number) =>
    `<span class="entry"><span class="swatch${ratio === 0 ? " zero" : ""}" style="--light:${loadColour(ratio, false)};--dark:${loadColour(ratio, true)}"></span>${
      ratio === 0
        ? t("never")
        : ratio === 1
          ? t("evenShare")
          : t("times", { value: ratio < 1 ? `1/${1 / ratio}` : ratio })
    }</span> `;
  const swatches = [0, 0.25, 0.5, 1, 2, 4].map(swatch).join("");
  const rowLabels = experts.layers
    .map((layer, i) =>
      experts.layers.length <= 24 || i % Math.ceil(experts.layers.length / 12) === 0
        ? `<span style="grid-row:${i + 1}">${layer}</span>`
        : "",
    )
    .join("");
  const map = `<div id="heat">
    <div class="controls"><label>${t("step")} <input type="range" min="0" max="${last}" value="${last}" step="1"></label><p class="read" role="status"></p></div>
    <div class="heatgrid"><div class="rows" aria-hidden="true" style="grid-template-rows:repeat(${experts.layers.length},1fr)">${rowLabels}</div>
    <div class="heatcanvas"><canvas tabindex="0" role="img" ${label(TEXTS.heatHelp, { layers: experts.layers.length, experts: experts.experts })}></canvas></div></div>
    <p class="legend"><span class="quiet">${t("layer")} ↓ · ${t("expert")} →</span> ${swatches}</p></div>`;
  const ratio = chartInputs(input)["expertRatio"];
  const first = experts.ratio[0]?.step ?? 0;
  const end = experts.ratio.at(-1)?.step ?? 0;
  const help = {
    en: TEXTS.chartHelp.en.replace("{title}", TEXTS.worstLayer.en),
    zh: TEXTS.chartHelp.zh.replace("{title}", TEXTS.worstLayer.zh),
  };
  const chart = ratio
    ? `<figure class="chart" data-chart="expertRatio"><figcaption><b>${t("worstLayer")}</b></figcaption>
      <p class="read" role="status"></p>
      <div class="plot" tabindex="0" role="img" ${label(help, { first, last: end })}>${chartSvg(ratio as ChartInput, 480)}</div></figure>
      <p class="legend">${key("k-line", t("worstLayerLegend"))}${key("k-dash", t("meanLayerLegend"))}${experts.bound === null ? "" : key("k-level", t("boundLegend", { value: shortNumber(experts.bound) }))}</p>`
    : "";
  return section("experts", "experts", `${map}${chart}${balanceBody(input)}`, t("expertsLead"));
}
