import { EXIT, formatSeconds } from "../../base/index.ts";
import type { Verb } from "../context.ts";
import { conditionText, lastStep, listRuns, runsFolder } from "../runs.ts";
import { table } from "../table.ts";
import { currentPhase, phaseName } from "../tell.ts";

/** Lists the runs of a folder. */
export const ps: Verb = {
  name: "ps",
  summary: { en: "list runs, the newest first", zh: "列出任務，最新在前" },
  define(command, act) {
    command
      .option("--runs <folder>", "folder of all runs (default: runs)")
      .action((options: { runs?: string }) =>
        act((context) => {
          const folder = runsFolder(context, options.runs);
          const rows = listRuns(folder).map((view) => ({
            name: view.name,
            id: view.id,
            folder: view.folder,
            condition: view.condition,
            phase: currentPhase(view.state),
            step: lastStep(view.folder)?.step ?? null,
            faults: view.state.incidents.length,
            startedAt: view.state.createdAt,
            seconds: Math.max(
              0,
              (view.condition === "running" ? Date.now() / 1000 : view.state.lastAt) - view.state.createdAt,
            ),
          }));
          context.data({ schema: "tessera.ps/v1", runs: rows });
          const titles = context
            .say({ en: "RUN,STATE,PHASE,STEP,FAULTS,TIME", zh: "任務,狀態,階段,步,故障,時間" })
            .split(",");
          context.out(
            rows.length === 0
              ? context.say({ en: "no runs in {folder}", zh: "{folder} 中沒有任務" }, { folder })
              : table(
                  titles.map((title, i) => ({ title, align: i >= 3 ? "right" : "left" })),
                  rows.map((row) => [
                    `${row.name}/${row.id}`,
                    conditionText(row.condition, context),
                    row.phase ? phaseName(context, row.phase) : "",
                    String(row.step ?? ""),
                    String(row.faults),
                    formatSeconds(row.seconds),
                  ]),
                ),
          );
          return EXIT.done;
        }),
      );
  },
};
