import { say } from "../../../base/index.ts";
import { both, missing, section, t } from "../html.ts";
import { TEXTS } from "../texts.ts";
import type { FunnelStep, ReportInput } from "../types.ts";

/** The way of the data: a bar per step as long as what is left, with the reasons of what is gone beside it. */
export function dataSection({ funnel }: ReportInput): string {
  const first = funnel[0];
  const last = funnel.at(-1);
  if (!first || !last) return section("data", "data", missing());
  const most = Math.max(...funnel.filter((step) => step.unit.en === first.unit.en).map((step) => step.in), 1);
  const rows = funnel.map((step) => {
    const scale = step.unit.en === first.unit.en ? most : Math.max(step.in, step.out, 1);
    const kept = (100 * step.out) / scale;
    const gone = (100 * Math.max(0, step.in - step.out)) / scale;
    const bar =
      step.unit.en === first.unit.en
        ? `<div class="funnelbar" aria-hidden="true"><span class="kept" style="width:${kept.toFixed(2)}%"></span><span class="gone" style="width:${gone.toFixed(2)}%"></span></div>`
        : "";
    return `<li><div class="stepname">${both(step.name)}</div><div class="stepcount"><b>${number(step.out)}</b> ${both(step.unit)}</div>${bar}<p class="quiet reasons">${reasons(step)}</p></li>`;
  });
  const lead = both({
    en: say(TEXTS.dataLead, "en", { first: number(first.in), last: `${number(last.out)} ${last.unit.en}` }),
    zh: say(TEXTS.dataLead, "zh", { first: number(first.in), last: `${number(last.out)} ${last.unit.zh}` }),
  });
  return section("data", "data", `<ol class="funnel">${rows.join("")}</ol>`, lead);
}

function reasons(step: FunnelStep): string {
  if (step.dropped.length === 0) return step.in > step.out ? "" : t("nothingDropped");
  const sorted = [...step.dropped].sort((a, b) => b.count - a.count);
  return `${t("dropped")} ${sorted.map(({ reason, count }) => `${both(reason)} <b>${number(count)}</b>`).join(" · ")}`;
}

const number = (value: number) => value.toLocaleString("en-US");
