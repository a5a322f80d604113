import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { verifyStep } from "../../data/index.ts";
import {
  basePart,
  dataPart,
  type DataPart,
  runBaseData,
  runSteps,
  STEP_NAMES,
  type StepName,
} from "../../domains/or/index.ts";
import type { Phase, PhaseContext, Recipe } from "../../run/index.ts";

type Produce = Extract<NonNullable<Recipe["data"]>, { produce: unknown }>["produce"];

/** Of the drafts, the share that gate and deduplication leave is above this; the rest is made up for by making more. */
const ACCEPTED = 0.9;
/** The steps of the data phase; those after it are the screen phase's. */
const PRODUCED: StepName = "gate";

const produceOf = (recipe: Recipe): Produce => {
  if (!recipe.data || !("produce" in recipe.data))
    throw new Error("the data phase runs only for recipes that produce");
  return recipe.data.produce;
};
const folderOf = (context: PhaseContext): string => join(context.folder, "data");

/** The domain's own options from the recipe: the tokenizer is the base model's, the sequence length is training's. */
function orPart({ recipe, recipeFolder }: Pick<PhaseContext, "recipe" | "recipeFolder">): DataPart {
  const produce = produceOf(recipe);
  const { screen } = recipe;
  const share = (label: string) => {
    const found = Object.entries(screen.quotas ?? {}).filter(([key]) => key.startsWith(`${label}=`));
    return found.length === 0
      ? undefined
      : Object.fromEntries(found.map(([key, value]) => [key.slice(label.length + 1), value]));
  };
  const mix = { families: share("family"), difficulties: share("difficulty"), languages: share("language") };
  const chinese = produce.languages.length === 2 ? 0.4 : produce.languages[0] === "zh" ? 1 : 0;
  return dataPart.parse({
    seed: recipe.seed,
    drafts: Math.ceil(produce.problems / ACCEPTED),
    ...(produce.families ? { families: produce.families } : {}),
    difficulties: produce.difficulties,
    chinese,
    heldout: Math.max(1, produce.heldOut),
    train: screen.train ?? produce.problems,
    mix: Object.fromEntries(Object.entries(mix).filter(([, value]) => value !== undefined)),
    dedup: { threshold: screen.nearDuplicate },
    replay: screen.replay,
    retention: produce.retention,
    sequenceLength: recipe.batch.sequenceLength,
    tokenizer: resolve(recipeFolder, recipe.model.base),
  });
}

/** Every step is one unit of the phase's progress, with the step's own share inside it. */
function report(context: PhaseContext, names: readonly StepName[]) {
  const seen = new Set<StepName>();
  return ({ step, done, of }: { step: StepName; done: number; of: number }) => {
    if (context.signal.aborted) context.signal.throwIfAborted();
    seen.add(step);
    const at = names.indexOf(step);
    if (at >= 0)
      context.progress({
        done: at + done / Math.max(1, of),
        total: names.length,
        unit: "part",
        note: `${step} ${done}/${of}`,
      });
  };
}

/** Produces and lets the solver accept; for a base model everything, as nothing is screened there. */
export const data: Phase<"data"> = {
  input: (context) => (produceOf(context.recipe).domain === "or" ? orPart(context) : generalPart(context)),
  run: async (context) => {
    const folder = folderOf(context);
    if (produceOf(context.recipe).domain === "general") {
      const made = await runBaseData(generalPart(context), folder);
      return { folder, train: made.train, tokenizer: made.tokenizer };
    }
    await runSteps(
      orPart(context),
      folder,
      PRODUCED,
      report(context, STEP_NAMES.slice(0, STEP_NAMES.indexOf(PRODUCED) + 1)),
    );
    return { folder };
  },
  valid: ({ folder }) => existsSync(folder),
};

const generalPart = ({ recipe, recipeFolder }: Pick<PhaseContext, "recipe" | "recipeFolder">) =>
  basePart.parse({
    seed: recipe.seed,
    documents: produceOf(recipe).problems,
    sequenceLength: recipe.batch.sequenceLength,
    tokenizer: resolve(recipeFolder, recipe.model.base),
  });

/** Duplicates, leaks, classes, quotas, packing. Steps that the data phase finished are verified and reused. */
export const screen: Phase<"screen"> = {
  input: (context) => (produceOf(context.recipe).domain === "or" ? orPart(context) : null),
  run: async (context) => {
    const made = context.outputs.data;
    if (produceOf(context.recipe).domain === "general") return { train: String(made?.["train"]) };
    const folder = folderOf(context);
    const steps = await runSteps(
      orPart(context),
      folder,
      "pack",
      report(context, STEP_NAMES.slice(STEP_NAMES.indexOf(PRODUCED) + 1)),
    );
    const place = (name: StepName) => steps[name]?.folder ?? "";
    return {
      train: join(place("pack"), "train.safetensors"),
      retention: join(place("pack"), "retention.safetensors"),
      heldout: join(place("select"), "heldout.jsonl"),
    };
  },
  // Rows that were cut or changed since are told with the folder to delete; what is gone is made again.
  valid: ({ train }) => existsSync(train) && verifyStep(dirname(train)).files.length > 0,
};
