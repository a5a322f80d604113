import type { PageExample } from "../page/example.ts";
import { escape, label, missing, section, t } from "../html.ts";
import { TEXTS, type TextKey } from "../texts.ts";
import type { Example, ReportInput } from "../types.ts";

const KINDS = [
  ["gained", "showGained"],
  ["lost", "showLost"],
  ["missed", "showMissed"],
  ["kept", "showKept"],
] as const;

/** The answers as the page's script reads them: only what is shown. */
export const pageExamples = (examples: readonly Example[]): PageExample[] =>
  examples.map((example) => ({
    id: example.id,
    tags: [example.family, example.language, example.difficulty, example.id.slice(0, 16)],
    problem: example.problem,
    reference: example.reference,
    objective: example.objective,
    kind: kindOf(example),
    base: example.base,
    candidate: example.candidate,
  }));

function kindOf({ base, candidate }: Example): PageExample["kind"] {
  if (candidate.verdict === "correct") return base.verdict === "correct" ? "kept" : "gained";
  return base.verdict === "correct" ? "lost" : "missed";
}

export function examplesSection({ evaluation }: ReportInput): string {
  if (!evaluation || evaluation.examples.length === 0) return section("examples", "examples", missing());
  const { examples, result } = evaluation;
  const count = (kind: string) => examples.filter((example) => kindOf(example) === kind).length;
  const option = (value: string, key: TextKey, number: number) => {
    const text = (lang: "en" | "zh") => escape(TEXTS[key][lang].replace("{count}", String(number)));
    return `<option value="${value}" data-en="${text("en")}" data-zh="${text("zh")}">${text("en")}</option>`;
  };
  // The first kind that exists is shown first; the script fills the card.
  const options = [
    ...KINDS.filter(([kind]) => count(kind) > 0).map(([kind, key]) => option(kind, key, count(kind))),
    option("all", "showAll", examples.length),
  ];
  const answer = (side: "base" | "candidate", title: TextKey) => `
    <div class="answer"><h3>${t(title)} <span class="verdict" data-field="${side}-verdict"></span></h3>
    <p class="quiet why" data-field="${side}-why"></p>
    <pre tabindex="0" data-field="${side}-text"></pre></div>`;
  const body = `
  <div class="controls"><label>${t("show")} <select id="example-kind">${options.join("")}</select></label>
    <span class="pager"><button type="button" id="example-previous" ${label(TEXTS.previous)}>←</button>
    <span id="example-at" role="status"></span>
    <button type="button" id="example-next" ${label(TEXTS.next)}>→</button></span></div>
  <article id="example">
    <p class="tags" data-field="tags"></p>
    <h3>${t("problem")}</h3><p class="problem" data-field="problem"></p>
    <div class="answers">
      <div class="answer"><h3>${t("reference")}</h3><p class="quiet why" data-field="objective"></p><pre tabindex="0" data-field="reference"></pre></div>
      ${answer("base", "before")}${answer("candidate", "after")}
    </div>
  </article>`;
  const lead = t("examplesLead", { shown: examples.length, total: result.comparison.overall.n });
  return section("examples", "examples", body, lead);
}
