import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Phase, Phases } from "../../run/index.ts";
import { data, screen } from "./data.ts";
import { candidateFolder, exportCheckpoint, measure } from "./measure.ts";
import { plan } from "./plan.ts";

/** The open checkpoint: what measure exported and judged, or exported now when nothing was measured. */
const exported: Phase<"export"> = {
  input: ({ recipe }) => recipe.export,
  run: async (context) => {
    const folder = candidateFolder(context.folder);
    if (!existsSync(join(folder, "config.json"))) {
      const trained = context.outputs.train;
      if (!trained) throw new Error("export runs after training");
      await exportCheckpoint(context, trained.checkpoint, folder);
    }
    return { folder };
  },
  valid: ({ folder }) => existsSync(join(folder, "config.json")),
};

/** The parts of this installation as the phases of a recipe. */
export const phases: Phases = { data, screen, plan, measure, export: exported };
