/** The recipe: its strict schema, reading with positions, the reference pages, and the identity of what was asked. */
export { type Conflict, conflicts, worldOf } from "./check.ts";
export { recipeIdentity } from "./identity.ts";
export { type LoadedRecipe, loadRecipe, parseRecipe } from "./load.ts";
export { type JsonSchema, recipeJsonSchema, recipeReference } from "./reference.ts";
export { type Recipe, recipeSchema, type RecipeStage } from "./schema.ts";
