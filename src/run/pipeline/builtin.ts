import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { sha256File } from "../../base/node.ts";
import { evenStages, layersOf } from "../controller/spec.ts";
import { fail } from "../errors.ts";
import type { PhaseName } from "../journal/index.ts";
import type { Recipe } from "../recipe/index.ts";
import type { Phase, Phases } from "./phases.ts";

/** Packed data of the user's own: nothing to screen. */
const packed: Phase<"screen"> = {
  input: ({ recipe }) => recipe.data,
  run: async ({ recipe, recipeFolder, run }) => {
    if (!recipe.data || !("packed" in recipe.data)) throw fail("RUN_NO_TRAINING_DATA");
    const train = resolve(recipeFolder, recipe.data.packed);
    if (!existsSync(train)) throw fail("RUN_DATA_MISSING", { path: train, run }, { file: train });
    return { train, sha256: sha256File(train) };
  },
  valid: ({ train, sha256 }) => {
    if (!existsSync(train)) return false;
    // A checkpoint says how far into these rows it is: on others it means nothing.
    if (sha256 !== undefined && sha256File(train) !== sha256) {
      throw fail("RUN_DATA_CHANGED", { path: train }, { file: train });
    }
    return true;
  },
};

/** A layout that the recipe gives: only the split into stages may be left to fill in. */
const explicit: Phase<"plan"> = {
  input: ({ recipe }) => recipe.layout,
  run: async ({ recipe, recipeFolder }) => {
    if (recipe.layout === "auto") throw fail("RUN_PHASE_MISSING", { phase: "plan" });
    const folder = resolve(recipeFolder, recipe.model.base);
    const layers = layersOf(folder);
    const stages = recipe.layout.pp * recipe.layout.vpp;
    if (layers === undefined || layers < stages) {
      throw fail(
        "RUN_MODEL",
        { folder, why: layers === undefined ? "num_hidden_layers" : `${layers} < pp x vpp = ${stages}` },
        { file: resolve(folder, "config.json") },
      );
    }
    return {
      layout: { ...recipe.layout, stages: recipe.layout.stages ?? evenStages(layers, stages) },
      file: null,
    };
  },
};

/** Phases that a recipe asks for, in order. */
export function wanted(recipe: Recipe, phases: Phases): PhaseName[] {
  const data = recipe.data ?? {};
  return [
    ...("produce" in data ? (["data"] as const) : []),
    "screen",
    "plan",
    "train",
    ...(recipe.evaluate ? (["measure"] as const) : []),
    ...(recipe.export ? (["export"] as const) : []),
    ...(phases.report ? (["report"] as const) : []),
  ];
}

/** The installation's phases, with ours where the recipe itself gives what a phase would find. */
export function withBuiltin(recipe: Recipe, phases: Phases): Phases {
  return {
    ...phases,
    ...(recipe.data && "packed" in recipe.data ? { screen: packed } : {}),
    ...(recipe.layout !== "auto" && !phases.plan ? { plan: explicit } : {}),
  };
}
