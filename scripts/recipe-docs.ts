/** Prints the recipe reference into docs/: run after a change of the recipe's schema; a test compares. */
import { join } from "node:path";
import { LANGS } from "../src/base/index.ts";
import { writeFileAtomic } from "../src/base/node.ts";
import { recipeReference } from "../src/run/recipe/index.ts";

for (const lang of LANGS) {
  writeFileAtomic(join(import.meta.dirname, "..", "docs", lang, "recipe.md"), recipeReference(lang));
}
