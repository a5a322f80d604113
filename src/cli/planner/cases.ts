import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { catalog, EXIT, type TesseraError, unwrap } from "../../base/index.ts";
import type { Cluster } from "../../cluster/index.ts";
import { estimate, type Estimate, readCase } from "../../layout/index.ts";
import { knownConfig, parseConfig } from "../../model/index.ts";
import { modelFile, readText } from "./inputs.ts";
import { type Located, located, parseLocated } from "./locate.ts";

const fail = catalog({
  ESTIMATE_JSON: {
    exit: EXIT.usage,
    message: { en: "the cases are not JSON: {detail}", zh: "案例不是 JSON：{detail}" },
    next: {
      en: "for what a case may say: tessera estimate --schema",
      zh: "案例的寫法見：tessera estimate --schema",
    },
  },
  ESTIMATE_NONE: {
    exit: EXIT.usage,
    message: { en: "there is no case in the list", zh: "清單中沒有案例" },
    next: {
      en: "for what a case may say: tessera estimate --schema",
      zh: "案例的寫法見：tessera estimate --schema",
    },
  },
});

/** The text of the cases, where it stands, and the folder that paths in it start from. */
export type CaseText = { readonly text: string; readonly file?: string; readonly base: string };

/** Every case answered, in their order; one that is wrong spoils only itself. */
export function answerCases(
  from: CaseText,
  adapt: (cluster: Cluster) => Cluster,
): (Estimate | TesseraError)[] {
  const cases = parseCases(from);
  if (cases.list.length === 0) throw fail("ESTIMATE_NONE", {}, placeOf(from));
  const find = (name: string) => configOf(name, from.base);
  const open = (path: string) => readText(resolve(from.base, path));
  return cases.list.map((data, index) => {
    const read = readCase(data, { index, adapt, find, open });
    return read.ok ? estimate(read.value) : withPlace(read.error, cases, index, from.file);
  });
}

const placeOf = ({ file }: CaseText) => (file === undefined ? {} : { file });

type Cases = {
  readonly list: readonly unknown[];
  /** Path of a case in the text. */
  readonly path: (index: number) => string;
  readonly source: () => Located;
};

/** JSON, or YAML: a case, a list of cases, or `{ cases: [...] }`. */
function parseCases(from: CaseText): Cases {
  let source: Located | undefined;
  const parsed = () => (source ??= parseLocated(from.text));
  let data: unknown;
  try {
    // JSON first: it is many times faster than YAML, and long lists are JSON.
    data = JSON.parse(from.text);
  } catch (cause) {
    const { wrong, data: plain } = parsed();
    data = plain;
    if (wrong || data === null || typeof data !== "object") {
      const { detail = (cause as Error).message, ...at } = wrong ?? {};
      throw fail("ESTIMATE_JSON", { detail }, { ...placeOf(from), ...at }, cause);
    }
  }
  const wrapped = (data as { cases?: unknown } | null)?.cases;
  if (Array.isArray(data)) return { list: data, path: (i) => `[${i}].`, source: parsed };
  if (Array.isArray(wrapped)) return { list: wrapped, path: (i) => `cases[${i}].`, source: parsed };
  return { list: [data], path: () => "", source: parsed };
}

/** The error with the line of its key in the file of cases; what is wrong inside a model's own file names that file already. */
function withPlace(error: TesseraError, cases: Cases, index: number, file: string | undefined): TesseraError {
  if (file === undefined || error.place.file !== undefined) return error;
  return located(error, cases.source(), file, cases.path(index));
}

/** The config.json at a path relative to the case file, in the folder there, or of a well-known model. */
function configOf(given: string, base: string) {
  const known = existsSync(resolve(base, given)) ? undefined : knownConfig(given);
  if (known) return { config: known };
  const file = modelFile(base, given);
  const text = readText(file, "model");
  return { config: unwrap(parseConfig(text, { file })), source: { file, text } };
}
