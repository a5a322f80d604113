import { EXIT } from "../../base/index.ts";
import { recipeJsonSchema, recipeReference } from "../../run/index.ts";
import type { Verb } from "../context.ts";

/** JSON Schema of recipes, for editors; or the reference page. */
export const recipeSchemaVerb: Verb = {
  name: "recipe-schema",
  summary: {
    en: "print the JSON Schema of recipes, for editors",
    zh: "輸出配方的 JSON Schema，供編輯器使用",
  },
  define(command, act) {
    command
      .option("--docs", "print the reference page in Markdown", false)
      .action((options: { docs: boolean }) =>
        act((context) => {
          const schema = recipeJsonSchema(context.lang);
          context.out(options.docs ? recipeReference(context.lang) : JSON.stringify(schema, null, 2));
          context.data({ schema: "tessera.recipe-schema/v1", document: schema });
          return EXIT.done;
        }),
      );
  },
};
