import { existsSync } from "node:fs";
import { join } from "node:path";
import { paths, type Phase, type Phases } from "../../run/index.ts";
import { data, screen } from "./data.ts";
import { pickLang } from "../../base/index.ts";
import { writeFileAtomic } from "../../base/node.ts";
import { reportOf } from "../../console/report/index.ts";
import { VERSION } from "../version.ts";
import { candidateFolder, exportTrained, measure } from "./measure.ts";
import { plan } from "./plan.ts";

/** The open checkpoint: what measure exported and judged, or exported now when nothing was measured. */
const exported: Phase<"export"> = {
  input: ({ recipe }) => recipe.export,
  run: async (context) => {
    const folder = candidateFolder(context.folder);
    if (!existsSync(join(folder, "config.json"))) await exportTrained(context, folder);
    return { folder };
  },
  valid: ({ folder }) => existsSync(join(folder, "config.json")),
};

const report: Phase<"report"> = {
  // Always written anew: it tells of the journal, which has grown since.
  input: () => null,
  run: async ({ folder, env }) => {
    const file = paths(folder).report;
    const versions = [
      { name: "tessera", value: VERSION },
      { name: "node", value: process.versions.node },
    ];
    writeFileAtomic(
      file,
      reportOf(folder, { cwd: process.cwd(), lang: pickLang(undefined, env), versions }).html,
    );
    return { file };
  },
  valid: () => false,
};

/** The parts of this installation as the phases of a recipe. */
export const phases: Phases = { data, screen, plan, measure, export: exported, report };
