import { type Lang, type Params, say, type Text } from "./text.ts";

/** Exit codes of the command line; `docs/en/exit-codes.md` lists them for users. */
export const EXIT = {
  done: 0,
  failedRun: 1,
  usage: 2,
  environment: 3,
  gateRefused: 4,
  infeasible: 5,
  interrupted: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** What a code means: the sentence, the next thing to type, and the exit code it leads to. */
export type ErrorEntry = { readonly exit: ExitCode; readonly message: Text; readonly next?: Text };
export type ErrorCatalog = Readonly<Record<string, ErrorEntry>>;

/** Where something went wrong: any of the fields that apply. Lines and columns count from 1. */
export type Place = {
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
  readonly rank?: number;
  readonly step?: number;
};

/** An expected failure: a stable code, its place, and texts in both languages. Bugs throw plain errors instead. */
export class TesseraError extends Error {
  override readonly name = "TesseraError";
  readonly code: string;
  readonly entry: ErrorEntry;
  readonly params: Params;
  readonly place: Place;

  constructor(code: string, entry: ErrorEntry, params: Params, place: Place, cause?: unknown) {
    super(`${code}: ${say(entry.message, "en", params)}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.entry = entry;
    this.params = params;
    this.place = place;
  }
}

/**
 * A folder's error catalog bound to a constructor, so that a code, its texts and its exit code stand in one place.
 *
 * @example
 * export const fail = catalog({
 *   LAYOUT_EP: { exit: EXIT.infeasible, message: { en: "ep {ep} does not divide {experts}", zh: "…" } },
 * });
 * return err(fail("LAYOUT_EP", { ep: 5, experts: 8 }, { file, line }));
 */
export function catalog<C extends ErrorCatalog>(entries: C) {
  return (code: keyof C & string, params: Params = {}, place: Place = {}, cause?: unknown): TesseraError =>
    new TesseraError(code, entries[code] as ErrorEntry, params, place, cause);
}

/** `file:line:column, rank 3, step 17`, with only the parts that are known. */
export function placeText(place: Place, lang: Lang): string {
  const parts: string[] = [];
  if (place.file !== undefined) {
    const at = [place.file, place.line, place.line === undefined ? undefined : place.column];
    parts.push(at.filter((part) => part !== undefined).join(":"));
  }
  if (place.rank !== undefined) parts.push(lang === "zh" ? `進程 ${place.rank}` : `rank ${place.rank}`);
  if (place.step !== undefined) parts.push(lang === "zh" ? `第 ${place.step} 步` : `step ${place.step}`);
  return parts.join(", ");
}

/** The error as a person reads it: code and sentence, place, next command; one line each. */
export function renderError(error: TesseraError, lang: Lang): string {
  const lines = [`${error.code}: ${say(error.entry.message, lang, error.params)}`];
  const place = placeText(error.place, lang);
  if (place) lines.push(lang === "zh" ? `  位置：${place}` : `  at: ${place}`);
  if (error.entry.next) {
    lines.push(`${lang === "zh" ? "  下一步：" : "  next: "}${say(error.entry.next, lang, error.params)}`);
  }
  return lines.join("\n");
}

/** The error as a program reads it: same facts, both languages, schema-versioned. */
export function errorJson(error: TesseraError): Record<string, unknown> {
  const both = (text: Text) => ({ en: say(text, "en", error.params), zh: say(text, "zh", error.params) });
  return {
    schema: "tessera.error/v1",
    code: error.code,
    exit: error.entry.exit,
    message: both(error.entry.message),
    ...(error.entry.next ? { next: both(error.entry.next) } : {}),
    place: error.place,
    params: error.params,
  };
}
