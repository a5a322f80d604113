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
import { enginePython, engineTool, type Phase, type PhaseContext, ROOT } from "../../run/index.ts";
import { unwrap } from "../../base/index.ts";

export const candidateFolder = (folder: string): string => join(folder, "export", "model");

/** Turns a checkpoint into a Hugging Face folder; the same bytes whatever layout it was trained under. */
export async function exportCheckpoint(
  context: Pick<PhaseContext, "folder" | "env" | "signal" | "recipeFolder" | "recipe">,
  checkpoint: string,
  out: string,
): Promise<void> {
  const value = {
    checkpoint,
    model: resolve(context.recipeFolder, context.recipe.model.base),
    out,
    maxShardBytes: context.recipe.export?.maxShardBytes ?? 4 * 1024 ** 3,
    ...(context.recipe.export?.dtype ? { dtype: context.recipe.export.dtype } : {}),
  };
  await engineTool({
    tool: "export",
    spec: { path: join(context.folder, "export", "export.spec.json"), value },
    log: join(context.folder, "logs", "export.log"),
    env: context.env,
    signal: context.signal,
  });
}

/** Base and trained model answer the held-out problems; a solver judges, paired statistics compare, the gate decides. */
export const measure: Phase<"measure"> = {
  input: ({ recipe }) => recipe.evaluate,
  run: async (context) => {
    const { recipe, folder, outputs, recipeFolder, env, signal } = context;
    const asked = recipe.evaluate;
    const trained = outputs.train;
    if (!asked || !trained || !outputs.screen)
      throw new Error("measure runs after training and only when asked for");
    const candidate = candidateFolder(folder);
    await exportCheckpoint(context, trained.checkpoint, candidate);
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
