import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { MARKS } from "../../domains/or/index.ts";
import {
  DEFAULT_POLICY,
  type Evaluation,
  measure as measureModels,
  orChecker,
  pythonEngine,
  readOrItems,
} from "../../evaluate/index.ts";
import { enginePython, exportCheckpoint, type Phase, type PhaseContext, ROOT } from "../../run/index.ts";
import { unwrap } from "../../base/index.ts";
import { mebibytes } from "../progress.ts";

export const candidateFolder = (folder: string): string => join(folder, "export", "model");

/** The trained checkpoint as a Hugging Face folder, as the recipe wants it. */
export async function exportTrained(
  { recipe, recipeFolder, outputs, signal, progress }: PhaseContext,
  out: string,
): Promise<void> {
  const { train } = outputs;
  if (!train) throw new Error("a checkpoint is exported after training");
  await exportCheckpoint({
    checkpoint: train.checkpoint,
    model: resolve(recipeFolder, recipe.model.base),
    out,
    maxShardBytes: recipe.export?.maxShardBytes,
    dtype: recipe.export?.dtype,
    signal,
    onProgress: (done, total) => progress({ ...mebibytes(done, total), note: "export" }),
  });
}

/** Base and trained model answer the held-out problems; a solver judges, paired statistics compare, the gate decides. */
export const measure: Phase<"measure"> = {
  input: ({ recipe }) => recipe.evaluate,
  run: async (context) => {
    const { recipe, folder, outputs, recipeFolder, env, signal } = context;
    const asked = recipe.evaluate;
    if (!asked || !outputs.train || !outputs.screen)
      throw new Error("measure runs after training and only when asked for");
    const candidate = candidateFolder(folder);
    await exportTrained(context, candidate);
    const { checker, close } = orChecker();
    try {
      const retention = asked.retention.data
        ? resolve(recipeFolder, asked.retention.data)
        : String(outputs.screen["retention"]);
      const result = await measureModels(pythonEngine(unwrap(enginePython(env)), ROOT), checker, {
        items: readOrItems(String(outputs.screen["heldout"]), asked.problems),
        base: resolve(recipeFolder, recipe.model.base),
        candidate,
        retention: existsSync(retention) ? retention : null,
        folder: join(folder, "eval"),
        decoding: {
          maxNewTokens: asked.maxNewTokens,
          batch: asked.batch,
          stop: MARKS.end,
          processes: 2,
          threads: 1,
        },
        policy: {
          ...DEFAULT_POLICY,
          minimumEffect: asked.gate.minimumLift,
          retentionMargin: asked.retention.margin,
        },
        confidence: asked.gate.confidence,
        onProgress: (phase, done, total) => context.progress({ done, total, unit: "item", note: phase }),
        signal,
      });
      return {
        gate: result.gate.verdict === "passed" ? "passed" : "refused",
        file: join(folder, "eval", "evaluation.json"),
        ...headline(result),
      };
    } finally {
      await close();
    }
  },
  valid: ({ file }) => existsSync(file),
};

const headline = ({ comparison }: Evaluation) => ({
  base: comparison.overall.base,
  candidate: comparison.overall.candidate,
  difference: comparison.overall.difference,
});
