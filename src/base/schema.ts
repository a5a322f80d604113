/**
 * Schemas of what people write (recipes, cases), on zod: each key carries its sentence in both languages, and one schema gives the
 * checks, the JSON Schema for editors and the reference page. Not part of `index.ts`: the planner page needs none of it.
 */
import { z } from "zod";
import type { Lang, Text } from "./text.ts";

/** The sentence of every key, in both languages. */
const docs = z.registry<Text>();

/** Ties a sentence to a key's schema. Wraps outermost: `.default()` and `.optional()` make new schemas that would lose it. */
export function key<S extends z.ZodType>(schema: S, en: string, zh: string): S {
  docs.add(schema, { en, zh });
  return schema;
}

/** The part of JSON Schema that our schemas use. */
export type JsonSchema = {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly anyOf?: readonly JsonSchema[];
  readonly items?: JsonSchema;
  readonly prefixItems?: readonly JsonSchema[];
  readonly additionalProperties?: JsonSchema | boolean;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
};

/** JSON Schema (draft 2020-12) of a document as a person writes it, for editors. */
export function jsonSchemaOf(schema: z.ZodType, title: string, lang: Lang): JsonSchema {
  const made = z.toJSONSchema(schema, {
    io: "input",
    override: ({ zodSchema, jsonSchema }) => {
      const text = docs.get(zodSchema);
      if (text) jsonSchema.description = text[lang];
      // Bounds that only say "a safe integer" help nobody.
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
    },
  });
  return { title, ...(made as JsonSchema) } as JsonSchema;
}

/** Schemas that stand at a path of the document: more than one below a union. */
export function schemasAt(root: JsonSchema, path: readonly PropertyKey[]): JsonSchema[] {
  const open = (schema: JsonSchema): JsonSchema[] => (schema.anyOf ? schema.anyOf.flatMap(open) : [schema]);
  let here = open(root);
  for (const step of path) {
    here = here.flatMap((schema) => {
      const inner =
        typeof step === "number"
          ? (schema.items ?? schema.prefixItems?.[step])
          : (schema.properties?.[String(step)] ??
            (typeof schema.additionalProperties === "object" ? schema.additionalProperties : undefined));
      return inner ? open(inner) : [];
    });
  }
  return here;
}

type Issue = z.core.$ZodIssue;
/** An issue that is no union's, with its whole path. */
export type FlatIssue = Exclude<Issue, z.core.$ZodIssueInvalidUnion> & { readonly path: PropertyKey[] };

/**
 * A union's issue becomes those of the alternative that was most nearly met (fewest and deepest issues), because "matches no
 * alternative" helps nobody. Alternatives that fail by their type alone ("auto" against a mapping) count as far off, and those whose
 * own mark (`kind: full`) is not there as farther than one that lacks a key.
 */
export function flatIssues(issue: Issue, base: readonly PropertyKey[] = []): FlatIssue[] {
  const path = [...base, ...issue.path];
  if (issue.code !== "invalid_union" || issue.errors.length === 0) return [{ ...issue, path } as FlatIssue];
  const cost = (alternative: readonly Issue[]) => alternative.reduce((sum, one) => sum + weight(one), 0);
  const best = [...issue.errors].sort((a, b) => cost(a) - cost(b))[0] as Issue[];
  return best.flatMap((one) => flatIssues(one, path));
}

function weight(issue: Issue): number {
  if (issue.path.length === 0 && issue.code !== "unrecognized_keys") return 100;
  return issue.code === "invalid_value" && issue.values.length === 1 ? 10 : 1;
}
