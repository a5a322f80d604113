import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { EXIT } from "../../base/index.ts";
import { writeFileAtomic } from "../../base/node.ts";
import { reportOf } from "../../console/report/index.ts";
import type { Verb } from "../context.ts";

const ROOT = resolve(import.meta.dirname, "../../..");

/** Writes the report of a run from what lies in its folder; also of a run that failed or is still going on. */
export const report: Verb = {
  name: "report",
  summary: {
    en: "write the report of a run folder as one HTML file",
    zh: "由任務資料夾產生報告（單一 HTML 檔）",
  },
  define(command, act) {
    command
      .argument("<folder>", "run folder, e.g. runs/<name>/<id>")
      .option("--out <file>", "where to write it (default: report.html in the run folder)")
      .action((folder: string, options: { out?: string }) =>
        act((context) => {
          const run = resolve(context.cwd, folder);
          const file =
            options.out === undefined ? join(run, "report.html") : resolve(context.cwd, options.out);
          const { html, input } = reportOf(run, {
            cwd: context.cwd,
            lang: context.lang,
            versions: [
              { name: "tessera", value: packageVersion() },
              { name: "node", value: process.versions.node },
            ],
          });
          writeFileAtomic(file, html);
          context.out(file);
          const gate = input.evaluation?.result.gate.verdict ?? null;
          context.data({ schema: "tessera.report/v1", file, run: input.run, gate });
          return EXIT.done;
        }),
      );
  },
};

const packageVersion = (): string =>
  String((JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: unknown }).version);
