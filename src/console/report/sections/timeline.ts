import { formatSeconds } from "../../../base/index.ts";
import { both, label, missing, section, t } from "../html.ts";
import type { ReportInput, TimelineEvent } from "../types.ts";
import { healings } from "./headline.ts";

const SIGNS: Readonly<Record<TimelineEvent["kind"], string>> = {
  phase: "▬",
  fault: "▼",
  alarm: "!",
  remedy: "✚",
  healed: "✓",
  checkpoint: "■",
  note: "·",
};
/** Events of these kinds are told one by one; checkpoints and notes only in the full list. */
const TOLD = new Set<TimelineEvent["kind"]>(["phase", "fault", "alarm", "remedy", "healed"]);

export function timelineSection(input: ReportInput): string {
  const events = [...input.timeline].sort((a, b) => a.t - b.t);
  const first = events[0];
  if (!first) return section("timeline", "timeline", missing());
  const start = input.run.started ?? first.t;
  const end = Math.max(input.run.finished ?? 0, ...events.map((event) => event.end ?? event.t));
  const span = Math.max(end - start, 1e-9);
  const at = (time: number) => ((100 * (time - start)) / span).toFixed(3);
  const phases = events.filter((event) => event.kind === "phase" && event.end !== null);
  const bars = phases.map((event, i) => {
    const width = Math.max(0.2, (100 * ((event.end as number) - event.t)) / span);
    return `<span class="phase p-${i % 2}" style="left:${at(event.t)}%;width:${width.toFixed(3)}%">${width > 9 ? both(event.title) : ""}</span>`;
  });
  const marks = events
    .filter((event) => event.kind === "fault" || event.kind === "checkpoint" || event.kind === "healed")
    .map((event) => `<i class="e-${event.kind}" style="left:${at(event.t)}%"></i>`);
  const line = (event: TimelineEvent) =>
    `<tr class="e-${event.kind}"><td class="n">+${formatSeconds(Math.max(0, event.t - start))}</td><td class="kind"><span class="sign" aria-hidden="true">${SIGNS[event.kind]}</span> ${t(event.kind)}</td><td>${both(event.title)}${event.detail ? `<span class="quiet"> ${both(event.detail)}</span>` : ""}</td><td class="n">${event.step ?? ""}</td><td class="n">${event.end === null ? "" : formatSeconds(Math.max(0, event.end - event.t))}</td></tr>`;
  const table = (list: readonly TimelineEvent[], name: { en: string; zh: string }) =>
    `<div class="scroll" tabindex="0" role="region" ${label(name)}><table class="events"><thead><tr><th scope="col" class="n">${t("sinceStart")}</th><th scope="col">${t("event")}</th><td></td><th scope="col" class="n">${t("step")}</th><td></td></tr></thead><tbody>${list.map(line).join("")}</tbody></table></div>`;
  const told = events.filter((event) => TOLD.has(event.kind));
  const healed = healings(input);
  const summary =
    healed.length === 0
      ? ""
      : `<p class="healedline"><span class="sign" aria-hidden="true">✓</span> ${t("healedLine", { count: healed.length, seconds: formatSeconds(Math.max(...healed)) })}</p>`;
  const rest =
    told.length === events.length
      ? ""
      : `<details><summary>${t("allEvents", { count: events.length })}</summary>${table(events, { en: "All events", zh: "所有事件" })}</details>`;
  return section(
    "timeline",
    "timeline",
    `${summary}<div class="strip" aria-hidden="true"><div class="lane">${bars.join("")}</div><div class="markers">${marks.join("")}</div></div>${table(told, { en: "Events", zh: "事件" })}${rest}`,
    t("timelineLead"),
  );
}
