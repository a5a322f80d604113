/** What is wrong with the plain data of a case, said from the schema: the place in it and what is allowed. */
import type { TesseraError, Text } from "../base/index.ts";
import { nearest } from "../base/nearest.ts";
import { type FlatIssue, flatIssues, type JsonSchema, schemasAt } from "../base/schema.ts";
import { caseJsonSchema, type CaseData, caseSchema } from "./case-schema.ts";
import { layoutFail } from "./errors.ts";

/** A complaint about one value of a case. */
export const caseFault = (index: number, path: string, problem: Text): TesseraError =>
  layoutFail("ESTIMATE_CASE", { index, path: path || "case", problem: problem.en, problemZh: problem.zh });

/** The case as the schema reads it; throws what is wrong first. */
export function checkedCase(data: unknown, index: number): CaseData {
  const checked = caseSchema.safeParse(data);
  if (checked.success) return checked.data;
  const [first] = checked.error.issues.flatMap((issue) => flatIssues(issue)) as [FlatIssue];
  throw faultOf(first, data, index);
}

let schema: JsonSchema | undefined;

function faultOf(issue: FlatIssue, data: unknown, index: number): TesseraError {
  schema ??= caseJsonSchema("en");
  const path = pathText(issue.path);
  if (issue.code === "unrecognized_keys") {
    const known = schemasAt(schema, issue.path).flatMap((one) => Object.keys(one.properties ?? {}));
    const [name] = issue.keys as [string];
    const meant = nearest(name, known);
    return caseFault(
      index,
      path ? `${path}.${name}` : name,
      meant
        ? { en: `unknown key; did you mean '${meant}'?`, zh: `未知的鍵；是否為「${meant}」？` }
        : { en: `unknown key; known: ${known.join(", ")}`, zh: `未知的鍵；可用：${known.join("、")}` },
    );
  }
  const wanted = wantedOf(schemasAt(schema, issue.path));
  const value = issue.path.reduce<unknown>((at, step) => (at as Record<PropertyKey, unknown>)[step], data);
  if (value === undefined) {
    return caseFault(index, path, { en: `is missing: ${wanted.en}`, zh: `缺少：${wanted.zh}` });
  }
  return caseFault(index, path, { en: `must be ${wanted.en}`, zh: `應為${wanted.zh}` });
}

const pathText = (path: readonly PropertyKey[]): string =>
  path.reduce<string>(
    (text, step) =>
      typeof step === "number" ? `${text}[${step}]` : text ? `${text}.${String(step)}` : String(step),
    "",
  );

/** What may stand at a place, in words. */
function wantedOf(alternatives: readonly JsonSchema[]): Text {
  const words = alternatives
    .filter(({ enum: list, const: value }) => list === undefined && value === undefined)
    .map(kindText);
  const values = alternatives.flatMap((one) => one.enum ?? (one.const === undefined ? [] : [one.const]));
  if (values.length > 0) {
    const known = [...new Set(values)].join(", ");
    words.unshift({ en: `one of ${known}`, zh: `其中之一：${known}` });
  }
  const joined = (lang: "en" | "zh", or: string) => [...new Set(words.map((text) => text[lang]))].join(or);
  return { en: joined("en", ", or "), zh: joined("zh", "，或") };
}

function kindText({ type, minimum, maximum }: JsonSchema): Text {
  const from = minimum === undefined ? undefined : maximum === undefined ? `${minimum}` : undefined;
  switch (type) {
    case "integer":
      return from === undefined
        ? { en: "a whole number", zh: "整數" }
        : { en: `a whole number from ${from}`, zh: `不小於 ${from} 的整數` };
    case "number":
      return { en: `a number from ${minimum} to ${maximum}`, zh: `${minimum} 至 ${maximum} 的數` };
    case "boolean":
      return { en: "true or false", zh: "true 或 false" };
    case "array":
      return { en: "a list", zh: "清單" };
    case "string":
      return { en: "a text", zh: "文字" };
    default:
      return { en: "an object", zh: "物件" };
  }
}
