import { readFileSync } from "node:fs";
import { lockedFolder, parseRecipe, paths } from "../../run/index.ts";
import type { Verb } from "../context.ts";
import { findRun, runsFolder } from "../runs.ts";
import { supervised } from "../supervised.ts";

/** Goes on with a run from its folder alone, whatever became of the one who started it. */
export const resume: Verb = {
  name: "resume",
  summary: {
    en: "go on with a run that was stopped, interrupted or left alone",
    zh: "繼續已停止、中斷或無人看守的任務",
  },
  define(command, act) {
    command
      .argument("[run]", "name, name/id, id or folder; the newest when absent")
      .option("--runs <folder>", "folder of all runs (default: runs)")
      .action((asked: string | undefined, options: { runs?: string }) =>
        act(async (context) => {
          const { folder, id } = findRun(runsFolder(context, options.runs), asked);
          const file = paths(folder).recipe;
          const text = readFileSync(file, "utf8");
          const recipe = parseRecipe(text, file);
          const [first] = recipe.ok ? [] : recipe.error;
          if (!recipe.ok) throw first;
          return supervised(context, {
            folder,
            id,
            loaded: { recipe: recipe.value, folder: lockedFolder(file), file, text },
          });
        }),
      );
  },
};
