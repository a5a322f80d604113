import type { Lang } from "../../base/index.ts";
import { type JsonSchema, jsonSchemaOf } from "../../base/schema.ts";
import { recipeSchema } from "./schema.ts";

/** JSON Schema (draft 2020-12) of the recipe as a person writes it, for editors. */
export const recipeJsonSchema = (lang: Lang): JsonSchema =>
  jsonSchemaOf(recipeSchema, "Tessera recipe", lang);

const WORDS = {
  en: {
    title: "# Recipe reference",
    intro:
      "A recipe is one YAML file. Every key is below; a key that is not here is an error. This page is printed from the schema (`npm run docs`).",
    head: "| key | value | default | meaning |",
    required: "**required**",
    list: "list of",
    or: " or ",
  },
  zh: {
    title: "# 配方參考",
    intro: "配方是一個 YAML 檔。以下為全部的鍵，其他的鍵即為錯誤。本頁由結構定義產生（`npm run docs`）。",
    head: "| 鍵 | 值 | 預設 | 意義 |",
    required: "**必填**",
    list: "清單：",
    or: " 或 ",
  },
} as const;

/** The reference page in Markdown: one table for each group of keys. */
export function recipeReference(lang: Lang): string {
  const words = WORDS[lang];
  const root = recipeJsonSchema(lang);
  const groups: { name: string; about: string; rows: string[] }[] = [];
  const visit = (schema: JsonSchema, path: string, about: string): void => {
    const rows: string[] = [];
    const later: (() => void)[] = [];
    for (const [name, inner] of Object.entries(schema.properties ?? {})) {
      const here = path ? `${path}.${name}` : name;
      const inside = objectsIn(inner);
      if (inside.length > 0)
        for (const object of inside) later.push(() => visit(object, here, inner.description ?? ""));
      const fallback = schema.required?.includes(name)
        ? words.required
        : inner.default === undefined || (typeof inner.default === "object" && inside.length > 0)
          ? ""
          : `\`${JSON.stringify(inner.default)}\``;
      rows.push(
        `| \`${name}\` | ${valueText(inner, lang, here)} | ${fallback} | ${inner.description ?? ""} |`,
      );
    }
    const group = groups.find((one) => one.name === path);
    if (group) group.rows.push(...rows);
    else groups.push({ name: path, about, rows });
    for (const act of later) act();
  };
  visit(root, "", "");
  const sections = groups.map(
    ({ name, about, rows }) =>
      `${name ? `## \`${name}\`\n\n${about}\n\n` : ""}${words.head}\n| --- | --- | --- | --- |\n${rows.join("\n")}`,
  );
  return `${words.title}\n\n${words.intro}\n\n${sections.join("\n\n")}\n`;
}

/** Objects with keys of their own directly at this place, in a list or among alternatives. */
function objectsIn(schema: JsonSchema): JsonSchema[] {
  if (schema.properties) return [schema];
  if (schema.anyOf) return schema.anyOf.flatMap(objectsIn);
  return schema.items ? objectsIn(schema.items) : [];
}

function valueText(schema: JsonSchema, lang: Lang, path: string): string {
  const words = WORDS[lang];
  if (schema.anyOf) return [...new Set(schema.anyOf.map((one) => valueText(one, lang, path)))].join(words.or);
  if (schema.const !== undefined) return `\`${String(schema.const)}\``;
  if (schema.enum) return schema.enum.map((value) => `\`${String(value)}\``).join(words.or);
  if (schema.properties) return `[\`${path}\`](#${path.replaceAll(".", "").toLowerCase()})`;
  if (schema.items) return `${words.list} ${valueText(schema.items, lang, path)}`;
  if (schema.prefixItems) return schema.prefixItems.map((one) => valueText(one, lang, path)).join(", ");
  return `${schema.type ?? "any"}${rangeText(schema)}`;
}

function rangeText(schema: JsonSchema): string {
  const parts: string[] = [];
  if (schema.minimum !== undefined) parts.push(`≥ ${schema.minimum}`);
  if (schema.exclusiveMinimum !== undefined) parts.push(`> ${schema.exclusiveMinimum}`);
  if (schema.maximum !== undefined) parts.push(`≤ ${schema.maximum}`);
  if (schema.exclusiveMaximum !== undefined) parts.push(`< ${schema.exclusiveMaximum}`);
  return parts.length > 0 ? ` ${parts.join(", ")}` : "";
}
