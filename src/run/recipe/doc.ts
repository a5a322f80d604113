import { z } from "zod";
import type { Text } from "../../base/index.ts";

/** The sentence of every key, in both languages: the recipe reference and the editor schema are printed from here. */
export const docs = z.registry<Text>();

/** Ties a sentence to a key's schema. Wraps outermost: `.default()` and `.optional()` make new schemas that would lose it. */
export function key<S extends z.ZodType>(schema: S, en: string, zh: string): S {
  docs.add(schema, { en, zh });
  return schema;
}
