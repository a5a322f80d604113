import type { Lang } from "../../base/index.ts";
import { escape, t } from "./html.ts";
import { pageScript } from "./page/script.ts";
import { dataSection } from "./sections/data.ts";
import { effectSection } from "./sections/effect.ts";
import { examplesSection, pageExamples } from "./sections/examples.ts";
import { expertsSection } from "./sections/experts.ts";
import { headline, topBar } from "./sections/headline.ts";
import { memorySection } from "./sections/memory.ts";
import { askedSection, lineageSection } from "./sections/origin.ts";
import { timelineSection } from "./sections/timeline.ts";
import { chartInputs, trainingSection } from "./sections/training.ts";
import { STYLE } from "./style.ts";
import { TEXTS } from "./texts.ts";
import type { ReportInput } from "./types.ts";

/**
 * The whole report as one HTML file: style, script and data inside, nothing asked of the network (a content policy in the file forbids
 * it). It reads without script too, except for the load map and the answers. `lang` is the language it opens in; both are inside.
 */
export function renderReport(input: ReportInput, lang: Lang = "en"): string {
  const data = {
    charts: chartInputs(input),
    heat: input.experts
      ? { layers: input.experts.layers, experts: input.experts.experts, frames: input.experts.frames }
      : null,
    examples: pageExamples(input.evaluation?.examples ?? []),
    texts: TEXTS,
  };
  const titleEn = `${input.run.name} · Tessera training report`;
  const titleZh = `${input.run.name} · Tessera 訓練報告`;
  return `<!doctype html>
<html lang="${lang === "zh" ? "zh-Hant" : "en"}" data-lang="${lang}" data-title-en="${escape(titleEn)}" data-title-zh="${escape(titleZh)}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<meta name="color-scheme" content="light dark">
<title>${escape(lang === "zh" ? titleZh : titleEn)}</title>
<style>${STYLE}</style>
</head>
<body>
${topBar()}
<main>
${headline(input)}
${effectSection(input)}
${examplesSection(input)}
${askedSection(input)}
${dataSection(input)}
${memorySection(input)}
${trainingSection(input)}
${expertsSection(input)}
${timelineSection(input)}
${lineageSection(input)}
</main>
<footer><p>${t("footer")}</p></footer>
<script type="application/json" id="page-data">${JSON.stringify(data).replaceAll("<", "\\u003c")}</script>
<script>${pageScript().replaceAll("</script", "<\\/script")}</script>
</body>
</html>
`;
}
