/** The recipe: its strict schema, reading with positions, the reference pages, and the identity of what was asked. */
export { recipeIdentity } from "./identity.ts";
export { type LoadedRecipe, loadRecipe, parseRecipe } from "./load.ts";
export { recipeJsonSchema, recipeReference } from "./reference.ts";
export { type Recipe, recipeSchema } from "./schema.ts";
