import { join, resolve } from "node:path";
import { EXIT, unwrap } from "../../base/index.ts";
import { loadRecipe, recipeIdentity } from "../../run/index.ts";
import type { Context, Verb } from "../context.ts";
import { parseDrill } from "../drill.ts";
import { refuseRecipe } from "../recipe-faults.ts";
import { runsFolder } from "../runs.ts";
import { supervised } from "../supervised.ts";

/** Runs a recipe to its end; the same recipe again goes on where it was. */
export const run: Verb = {
  name: "run",
  summary: {
    en: "run a recipe to its end; run again to go on where it was",
    zh: "執行配方直到結束；再次執行會從中斷處繼續",
  },
  define(command, act) {
    command
      .argument("<recipe>", "recipe.yaml")
      .option("--runs <folder>", "folder of all runs (default: runs)")
      .option("--label <text>", "another run of the same recipe", "")
      .option("--check", "only check the recipe", false)
      .option("--drill <rank@step>", "kill a rank with -9 after a step, to see the run heal")
      .action((file: string, options: { runs?: string; label: string; check: boolean; drill?: string }) =>
        act(async (context) => {
          const loaded = loadRecipe(resolve(context.cwd, file));
          if (!loaded.ok) return refuseRecipe(context, loaded.error);
          const id = unwrap(recipeIdentity(loaded.value, options.label));
          const folder = join(runsFolder(context, options.runs), loaded.value.recipe.name, id);
          if (options.check) return checked(context, id, folder);
          const drill = options.drill === undefined ? undefined : unwrap(parseDrill(options.drill));
          return supervised(context, { folder, id, loaded: loaded.value, drill });
        }),
      );
  },
};

function checked(context: Context, id: string, folder: string) {
  context.out(
    context.say(
      { en: "the recipe is good; its run is {folder}", zh: "配方無誤；任務資料夾為 {folder}" },
      { folder },
    ),
  );
  context.data({ schema: "tessera.check/v1", ok: true, run: id, folder });
  return EXIT.done;
}
