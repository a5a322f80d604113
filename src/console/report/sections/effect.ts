import { formatCount } from "../../../base/index.ts";
import { GATE_REASONS, type Gate, type Slice, VERDICTS } from "../../../evaluate/index.ts";
import {
  both,
  change,
  key,
  label,
  missing,
  percent,
  points,
  pValue,
  same,
  section,
  signed,
  t,
} from "../html.ts";
import type { ReportInput } from "../types.ts";
import { dumbbell, verdictBar } from "./marks.ts";

const GROUP_TITLES = { family: "byFamily", language: "byLanguage", difficulty: "byDifficulty" } as const;
const WORDS = {
  passed: "checkPassed",
  refused: "checkRefused",
  inconclusive: "checkInconclusive",
} as const;
const SIGNS = { passed: "✓", refused: "✕", inconclusive: "?" } as const;

export function effectSection({ evaluation }: ReportInput): string {
  if (!evaluation) return section("effect", "effect", missing());
  const { comparison, gate, retention } = evaluation.result;
  const row = (slice: Slice, name: string) => `<tr>
    <th scope="row">${name}</th><td class="n wideonly">${slice.n}</td>
    <td class="n">${percent(slice.base.value)}<span class="ci-text">${range(slice.base)}</span></td>
    <td class="n">${percent(slice.candidate.value)}<span class="ci-text">${range(slice.candidate)}</span></td>
    <td class="plotcell">${dumbbell(slice)}</td>
    <td class="n"><b>${points(slice.difference.value)}</b><span class="ci-text">${points(slice.difference.low)} … ${points(slice.difference.high)}</span></td>
    <td class="n wideonly">${pValue(slice.p)}</td></tr>`;
  const groups = (Object.keys(GROUP_TITLES) as (keyof typeof GROUP_TITLES)[])
    .filter((group) => comparison.groups[group].length > 1)
    .map(
      (group) =>
        `<tbody><tr class="sub"><th colspan="7" scope="rowgroup">${t(GROUP_TITLES[group])}</th></tr>${comparison.groups[group].map((slice) => row(slice, both(evaluation.names[slice.key] ?? same(slice.key)))).join("")}</tbody>`,
    );
  const table = `<div class="scroll" tabindex="0" role="region" ${label({ en: "Effect by group", zh: "各分組的效果" })}><table class="effect">
    <thead><tr><th scope="col">${t("group")}</th><th scope="col" class="n wideonly">${t("problems")}</th><th scope="col" class="n">${t("before")}</th><th scope="col" class="n">${t("after")}</th><td class="plotcell"></td><th scope="col" class="n">${t("difference")}</th><th scope="col" class="n wideonly">${t("pValue")}</th></tr></thead>
    <tbody class="all">${row(comparison.overall, t("all"))}</tbody>${groups.join("")}</table></div>
    <p class="note">${t("methods", { detectable: (100 * comparison.overall.detectable).toFixed(1) })}</p>`;
  const legend = VERDICTS.map((verdict) => key(`v-${verdict}`, t(verdict))).join("");
  const verdicts = `<h3>${t("verdicts")}</h3>
    <div class="bars"><span>${t("before")}</span>${verdictBar(comparison.verdicts.base)}<span>${t("after")}</span>${verdictBar(comparison.verdicts.candidate)}</div>
    <p class="legend">${legend}</p>
    <p>${t("flips", { gained: comparison.flips.gained.length, lost: comparison.flips.lost.length })}</p>`;
  const kept = retention
    ? `<p class="quiet">${t("retentionLine", {
        before: retention.basePerplexity.toFixed(3),
        after: retention.candidatePerplexity.toFixed(3),
        ratio: change(retention.ratio.value),
        low: change(retention.ratio.low),
        high: change(retention.ratio.high),
        rows: retention.rows,
        tokens: formatCount(retention.tokens),
      })}</p>`
    : "";
  return section("effect", "effect", `${table}${verdicts}${gateList(gate)}${kept}`, t("effectLead"));
}

function gateList(gate: Gate): string {
  const bars = {
    effect: t("gateEffect", { bar: signed(100 * gate.policy.minimumEffect, 1) }),
    retention: t("gateRetention", { margin: `${(100 * gate.policy.retentionMargin).toFixed(0)}\u00a0%` }),
  };
  const checks = gate.checks.map(
    (check) =>
      `<li class="s-${check.verdict}"><span class="sign" aria-hidden="true">${SIGNS[check.verdict]}</span><span>${bars[check.name]}<br><span class="quiet">${t(WORDS[check.verdict])}: ${both(GATE_REASONS[check.reason])}</span></span></li>`,
  );
  return `<h3>${t("gate")}</h3><ul class="gate">${checks.join("")}</ul>`;
}

const range = ({ low, high }: { low: number; high: number }) =>
  `${(100 * low).toFixed(1)} – ${(100 * high).toFixed(1)}`;
