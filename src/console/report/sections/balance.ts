import { formatBytes, formatSeconds } from "../../../base/index.ts";
import { both, key, label, t } from "../html.ts";
import { type ChartInput, chartSvg } from "../page/chart.ts";
import { shortNumber } from "../page/scale.ts";
import { TEXTS } from "../texts.ts";
import type { BalancePart, ReportInput } from "../types.ts";
import { chartInputs } from "./training.ts";

/** Live balancing, below the load map: how even ranks were, each decision in a line, what was promised and what came. */
export function balanceBody(input: ReportInput): string {
  const balance = input.experts?.balance;
  if (!balance) return "";
  const { last } = balance;
  const now = last
    ? `<p>${t("balanceNow", { vio: last.maxVio.toFixed(2), cv: last.cv.toFixed(2), entropy: last.entropy.toFixed(3), dead: last.dead, dropped: last.dropped ?? "–" })}</p>`
    : "";
  const exchange = last?.exchange ? exchangeLine(last.exchange) : "";
  const links = last?.links ? `<p>${both(last.links)}</p>` : "";
  const placed = balance.placed ? `<p>${both(balance.placed)}</p>` : "";
  return `${chart(input, balance)}${placed}${now}${exchange}${links}${decisions(balance)}`;
}

function exchangeLine({
  least,
  median,
  most,
  rank,
  shares,
}: NonNullable<NonNullable<BalancePart["last"]>["exchange"]>): string {
  const [stay, node, network] = shares.map((share) => `${(100 * share).toFixed(0)} %`) as [
    string,
    string,
    string,
  ];
  const times = { least: formatSeconds(least), median: formatSeconds(median), most: formatSeconds(most) };
  return `<p>${t("balanceExchange", { ...times, rank, stay, node, network })}</p>`;
}

function chart(input: ReportInput, { ranks }: BalancePart): string {
  const drawn = chartInputs(input)["rankBalance"];
  if (!drawn) return "";
  const help = {
    en: TEXTS.chartHelp.en.replace("{title}", TEXTS.rankBalance.en),
    zh: TEXTS.chartHelp.zh.replace("{title}", TEXTS.rankBalance.zh),
  };
  const params = { first: ranks[0]?.step ?? 0, last: ranks.at(-1)?.step ?? 0 };
  const level =
    drawn.level === null ? "" : key("k-level", t("rankPlannedLegend", { value: shortNumber(drawn.level) }));
  return `<figure class="chart" data-chart="rankBalance"><figcaption><b>${t("rankBalance")}</b></figcaption>
      <p class="read" role="status"></p>
      <div class="plot" tabindex="0" role="img" ${label(help, params)}>${chartSvg(drawn as ChartInput, 480)}</div></figure>
      <p class="legend">${key("k-line", t("rankBalanceLegend"))}${key("k-dash", t("rankBoundLegend"))}${level}</p>`;
}

function decisions({ decisions: list, moves, bytes, wonSeconds, forecastWonSeconds }: BalancePart): string {
  if (list.length === 0) return "";
  const cell = (value: string | null) => `<td class="n">${value ?? "–"}</td>`;
  const rows = list.map(
    (one) =>
      `<tr><td class="n">${one.step}</td><td>${both(one.line)}</td>${cell(one.planned?.toFixed(3) ?? null)}${cell(one.realised?.toFixed(3) ?? null)}${cell(one.bytes === null ? null : formatBytes(one.bytes))}${cell(one.planned === null ? null : formatSeconds(one.forecastSeconds))}${cell(one.measuredSeconds === null ? null : formatSeconds(one.measuredSeconds))}${cell(one.measuredPayback?.toFixed(1) ?? null)}</tr>`,
  );
  const sum =
    moves > 0
      ? `<p>${t("balanceSum", { moves, bytes: formatBytes(bytes), won: formatSeconds(wonSeconds), forecast: formatSeconds(forecastWonSeconds) })}</p>`
      : "";
  const name = { en: "Decisions on experts", zh: "專家的決定" };
  const head = (text: string, number = true) => `<th scope="col"${number ? ' class="n"' : ""}>${text}</th>`;
  return `${sum}<div class="scroll" tabindex="0" role="region" ${label(name)}><table><thead><tr>${head(t("step"))}${head(t("balanceDecision"), false)}${head(t("balancePlanned"))}${head(t("balanceRealised"))}${head(t("balanceMoved"))}${head(t("balanceForecast"))}${head(t("balanceMeasured"))}${head(t("balancePayback"))}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}
