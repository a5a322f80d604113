import { say, type Params, type Text } from "../../base/index.ts";
import { TEXTS, type TextKey } from "./texts.ts";

/** Text made safe to stand in HTML, also inside a quoted attribute. */
export const escape = (text: string): string =>
  text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;");

/** A text in both languages; the page's style shows one of them. So the switch needs no script and a screen reader hears one. */
export const both = (text: Text, params: Params = {}): string =>
  text.en === text.zh && Object.keys(params).length === 0
    ? escape(text.en)
    : `<span class="en" lang="en">${escape(say(text, "en", params))}</span><span class="zh" lang="zh-Hant">${escape(say(text, "zh", params))}</span>`;

export const t = (key: TextKey, params: Params = {}): string => both(TEXTS[key], params);

/** `aria-label` in the language that the page opens with, and both beside it for the switch. */
export function label(text: Text, params: Params = {}): string {
  const en = escape(say(text, "en", params));
  const zh = escape(say(text, "zh", params));
  return `aria-label="${en}" data-label-en="${en}" data-label-zh="${zh}"`;
}

/** A text that is the same in both languages: a name, a number. */
export const same = (text: string): Text => ({ en: text, zh: text });

/** A share as a per cent with one decimal: 0.425 -> "42.5 %". */
export const percent = (share: number): string => `${(100 * share).toFixed(1)}\u00a0%`;
/** A difference of shares in points with its sign and a true minus: -0.05 -> "−5.0". */
export const points = (difference: number): string => signed(100 * difference, 1);
/** A ratio as a change in per cent: 1.034 -> "+3.4 %". */
export const change = (ratio: number): string =>
  Number.isFinite(ratio) ? `${signed(100 * (ratio - 1), 1)}\u00a0%` : "∞";

export function signed(value: number, digits: number): string {
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? text : `${value < 0 ? "−" : "+"}${text}`;
}

export function pValue(p: number): string {
  if (p >= 0.001) return p.toFixed(3);
  if (p < 1e-99) return "< 10⁻⁹⁹";
  const exponent = Math.floor(Math.log10(p));
  const digits = String(-exponent).replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)] ?? "");
  return `${(p / 10 ** exponent).toFixed(1)} × 10⁻${digits}`;
}

/** A section with its heading in the margin. */
export const section = (id: string, title: TextKey, body: string, lead = ""): string => `
<section id="${id}" aria-labelledby="${id}-title">
  <header><h2 id="${id}-title">${t(title)}</h2>${lead ? `<p class="lead">${lead}</p>` : ""}</header>
  <div class="body">${body}</div>
</section>`;

/** One entry of a legend: the coloured mark and its word, never parted by a line break. */
export const key = (mark: string, word: string): string =>
  `<span class="entry"><span class="key ${mark}"></span>${word}</span> `;

export const missing = (): string => `<p class="missing">${t("notMeasured")}</p>`;
