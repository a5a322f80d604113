import { both, escape, missing, section, t } from "../html.ts";
import type { ReportInput } from "../types.ts";

/** What was asked: facts first, the recipe and the command to get the same run beneath. */
export function askedSection({ asked, run }: ReportInput): string {
  const facts = asked.facts.map(
    ({ label, value }) => `<div><dt>${both(label)}</dt><dd>${both(value)}</dd></div>`,
  );
  const recipe = asked.recipe.trim()
    ? `<details><summary>${t("recipe")}</summary><pre tabindex="0">${escape(asked.recipe.trimEnd())}</pre></details>`
    : "";
  return section(
    "asked",
    "asked",
    `<dl class="facts">${facts.join("")}</dl><h3>${t("reproduce")}</h3><pre class="command" tabindex="0">${escape(run.command)}</pre>${recipe}`,
  );
}

/** What was made from what, by content hash, and the versions of everything that took part. */
export function lineageSection({ lineage, versions }: ReportInput): string {
  if (lineage.length === 0 && versions.length === 0) return section("lineage", "lineage", missing());
  const names = new Map(lineage.map((node) => [node.hash, node.name]));
  const nodes = lineage.map((node) => {
    const parents = node.from.map(
      (hash) => names.get(hash) ?? { en: hash.slice(0, 12), zh: hash.slice(0, 12) },
    );
    const from =
      parents.length === 0
        ? ""
        : `<span class="quiet"> ${both({
            en: `made from ${parents.map((parent) => parent.en).join(", ")}`,
            zh: `來自 ${parents.map((parent) => parent.zh).join("、")}`,
          })}</span>`;
    return `<li><b>${both(node.name)}</b> <code>${escape(node.hash.slice(0, 16))}</code>${node.detail ? ` <span class="quiet">${escape(node.detail)}</span>` : ""}${from}</li>`;
  });
  const rows = versions.map(
    ({ name, value }) => `<div><dt>${escape(name)}</dt><dd>${escape(value)}</dd></div>`,
  );
  const versionList =
    rows.length > 0 ? `<h3>${t("versions")}</h3><dl class="facts small">${rows.join("")}</dl>` : "";
  return section(
    "lineage",
    "lineage",
    `<ol class="lineage">${nodes.join("")}</ol>${versionList}`,
    t("lineageLead"),
  );
}
