import { formatBytes, formatSeconds } from "../../../base/index.ts";
import { both, escape, key, label, missing, section, t } from "../html.ts";
import { CATEGORIES, type MemoryPart, type ReportInput } from "../types.ts";

type Row = { readonly name: string; readonly place: string; readonly ranks: MemoryPart["ranks"] };

/** Bars of ranks x categories on one scale with the capacity line. Ranks that hold the same share a row when there are many. */
export function memorySection({ memory }: ReportInput): string {
  if (!memory || memory.ranks.length === 0) return section("memory", "memory", missing());
  const used = CATEGORIES.filter((category) =>
    memory.ranks.some((rank) => (rank.planned[category] ?? 0) > 0),
  );
  const totalOf = (rank: MemoryPart["ranks"][number]) =>
    CATEGORIES.reduce((sum, category) => sum + (rank.planned[category] ?? 0), 0);
  const peak = Math.max(
    ...memory.ranks.map((rank) => Math.max(totalOf(rank), rank.measuredPeakBytes ?? 0)),
    1,
  );
  // A capacity far beyond the need would squeeze the bars to nothing, so it is then told in words only.
  const capacity = memory.capacityBytes;
  const shown = capacity !== null && capacity <= peak * 6;
  const scale = (shown ? Math.max(peak, capacity) : peak) * 1.02;
  const rows = rowsOf(memory.ranks).map(({ name, place, ranks }) => {
    const rank = ranks[0] as MemoryPart["ranks"][number];
    const parts = used.map((category) => {
      const bytes = rank.planned[category] ?? 0;
      const share = (100 * bytes) / scale;
      return `<span class="c-${category}" style="width:${share.toFixed(3)}%" title="${escape(`${category}: ${formatBytes(bytes)}`)}"></span>`;
    });
    const measured = Math.max(...ranks.map((each) => each.measuredPeakBytes ?? 0));
    const tick =
      measured > 0 ? `<i class="peak" style="left:${((100 * measured) / scale).toFixed(3)}%"></i>` : "";
    const line = shown ? `<i class="cap" style="left:${((100 * capacity) / scale).toFixed(3)}%"></i>` : "";
    const words = used
      .map((category) => `${category} ${formatBytes(rank.planned[category] ?? 0)}`)
      .join(", ");
    return `<tr><th scope="row">${escape(name)}<span class="quiet"> ${escape(place)}</span></th>
      <td class="wide"><div class="pieces" role="img" ${label({ en: words, zh: words })}>${parts.join("")}${tick}${line}</div></td>
      <td class="n">${formatBytes(totalOf(rank))}</td>${measured > 0 ? `<td class="n">${formatBytes(measured)}</td>` : `<td class="n quiet">–</td>`}</tr>`;
  });
  const legend = used.map((category) => key(`c-${category}`, t(category))).join("");
  const limit =
    capacity === null ? "" : key(shown ? "k-cap" : "k-none", t("capacity", { bytes: formatBytes(capacity) }));
  const peakText = memory.measured === "device" ? "measuredPeak" : "processPeak";
  const body = `
  <p class="layout">${both(memory.layout)}</p>${memory.why.length > 0 ? `<ul class="why">${memory.why.map((each) => `<li>${both(each)}</li>`).join("")}</ul>` : ""}
  <div class="scroll" tabindex="0" role="region" ${label({ en: "Memory by rank", zh: "各進程記憶體" })}><table class="memory"><thead><tr><th scope="col">${t("rank")}</th><td class="wide"></td><th scope="col" class="n">${t("total")}</th><th scope="col" class="n">${t(peakText)}</th></tr></thead><tbody>${rows.join("")}</tbody></table></div>
  <p class="legend">${legend}${key("k-peak", t(peakText))}${limit}</p>${otherLayouts(memory)}`;
  return section(
    "memory",
    "memory",
    body,
    t(capacity === null || !shown ? "memoryLeadNoCapacity" : "memoryLead"),
  );
}

function otherLayouts({ others }: MemoryPart): string {
  if (others.length === 0) return "";
  const rows = others.map(
    (other) =>
      `<tr><th scope="row">${escape(other.name)}</th><td class="n">${formatSeconds(other.seconds)}</td><td class="n">${other.freeBytes === null ? "–" : formatBytes(other.freeBytes)}</td><td>${both(other.why)}</td></tr>`,
  );
  return `<details><summary>${t("others", { count: others.length })}</summary><div class="scroll" tabindex="0" role="region" ${label({ en: "Other layouts", zh: "其他佈局" })}><table><thead><tr><th scope="col">${t("layoutName")}</th><th scope="col" class="n">${t("stepSeconds")}</th><th scope="col" class="n">${t("free")}</th><th scope="col">${t("why")}</th></tr></thead><tbody>${rows.join("")}</tbody></table></div></details>`;
}

/** One row a rank up to 16 ranks; beyond, one row for each distinct set of pieces. */
function rowsOf(ranks: MemoryPart["ranks"]): Row[] {
  if (ranks.length <= 16)
    return ranks.map((rank) => ({ name: String(rank.rank), place: rank.place, ranks: [rank] }));
  const groups = new Map<string, MemoryPart["ranks"][number][]>();
  for (const rank of ranks) {
    const key = CATEGORIES.map((category) => rank.planned[category] ?? 0).join(" ");
    const group = groups.get(key);
    if (group) group.push(rank);
    else groups.set(key, [rank]);
  }
  return [...groups.values()].map((group) => ({
    name: rangesOf(group.map((rank) => rank.rank)),
    place: group.length === 1 ? (group[0]?.place ?? "") : `× ${group.length}`,
    ranks: group,
  }));
}

/** 0, 1, 2, 5 -> "0–2, 5", cut short after four ranges. */
function rangesOf(numbers: readonly number[]): string {
  const ranges: [number, number][] = [];
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last && number === last[1] + 1) last[1] = number;
    else ranges.push([number, number]);
  }
  const words = ranges.slice(0, 4).map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`));
  return words.join(", ") + (ranges.length > 4 ? " …" : "");
}
