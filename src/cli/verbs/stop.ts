import { setTimeout as sleep } from "node:timers/promises";
import { EXIT } from "../../base/index.ts";
import { askController, endAgent, isAlive, paths, readControllerFile, runError } from "../../run/index.ts";
import type { Verb } from "../context.ts";
import { agentsOf, findRun, runsFolder, viewRun } from "../runs.ts";

/** Stops a run from anywhere: with a checkpoint, or at once with `--now`. */
export const stop: Verb = {
  name: "stop",
  summary: { en: "stop a run with a checkpoint (--now: without)", zh: "保存檢查點後停止任務（--now：立即）" },
  define(command, act) {
    command
      .argument("[run]", "name, name/id, id or folder; the newest when absent")
      .option("--runs <folder>", "folder of all runs (default: runs)")
      .option("--now", "at once, without a checkpoint", false)
      .option("--no-wait", "do not wait for the end")
      .action((asked: string | undefined, options: { runs?: string; now: boolean; wait: boolean }) =>
        act(async (context) => {
          const { folder, id } = findRun(runsFolder(context, options.runs), asked);
          const controller = readControllerFile(paths(folder).controller);
          if (controller && isAlive(controller)) {
            await askController(controller, options.now ? "stop_now" : "stop");
            while (options.wait && isAlive(controller)) await sleep(50);
          } else {
            // Nobody supervises it: its agents are ended with their ranks; the newest checkpoint stays.
            const alive = agentsOf(folder).filter(
              (one) => isAlive(one) || (one.zygote && isAlive(one.zygote)),
            );
            if (alive.length === 0) throw runError("RUN_NOT_RUNNING", { run: id });
            for (const agent of alive) endAgent(agent);
          }
          const view = viewRun(folder);
          context.data({
            schema: "tessera.stop/v1",
            run: id,
            condition: view.condition,
            checkpoint: view.state.checkpoint,
          });
          context.out(
            context.say(
              { en: "stopped; go on with: tessera resume {run}", zh: "已停止；繼續：tessera resume {run}" },
              { run: id },
            ),
          );
          return EXIT.done;
        }),
      );
  },
};
