import { EXIT, type ExitCode, formatSeconds, renderError, TesseraError, errorJson } from "../base/index.ts";
import {
  Controller,
  engineZygote,
  type LoadedRecipe,
  localLauncher,
  type RunEnd,
  type WorkerMessage,
} from "../run/index.ts";
import { nightWatch } from "../watch/index.ts";
import type { Context } from "./context.ts";
import { type Drill, DrillRunner } from "./drill.ts";
import { phases } from "./phases/index.ts";
import { ProgressLine } from "./progress.ts";
import { shortPath } from "./runs.ts";
import { summary } from "./summary.ts";
import { eventText } from "./tell.ts";
import { VERSION } from "./version.ts";

/** A second Ctrl-C within this time is the same key press, told twice (by the terminal and by the launcher in `bin/`). */
const SAME_PRESS_MS = 300;
/** After the second Ctrl-C: longest wait for a clean end. */
const NOW_MS = 5000;

const DRILL = {
  en: "drill: killing rank {rank} (pid {pid}) with -9 after step {step}",
  zh: "演習：第 {step} 步之後以 -9 殺死進程 {rank}（pid {pid}）",
} as const;

/** Runs or resumes a recipe in its folder with everything a person sees of it, and returns the exit code. */
export async function supervised(
  context: Context,
  ask: { folder: string; id: string; loaded: LoadedRecipe; drill?: Drill | undefined },
): Promise<ExitCode> {
  const began = Date.now();
  const drill = ask.drill ? new DrillRunner(ask.drill) : undefined;
  const line = new ProgressLine(
    context,
    { write: (text) => writeTalk(text), columns: () => process.stderr.columns ?? 80 },
    Date.now,
  );
  const controller = Controller.open({
    ...ask,
    version: VERSION,
    phases,
    launcher: (world) => localLauncher([{ agent: "0", ranks: world }]),
    watch: nightWatch,
    zygote: () => engineZygote(context.env),
    env: context.env,
    onProgress: (progress) => line.update(progress),
    ...(drill
      ? {
          onMessage: (message: WorkerMessage) => {
            const killed = drill.see(message, controller.state.incidents.length);
            if (killed) line.talk(context.say(DRILL, killed));
          },
        }
      : {}),
    onPhase: (...phase) => line.phase(...phase),
    onEvent: (event) => {
      const text = eventText(context, event, true);
      if (text) line.talk(text);
    },
  });
  line.talk(
    context.say(
      { en: "run {run} in {folder}", zh: "任務 {run}，資料夾 {folder}" },
      { run: ask.id, folder: shortPath(context, ask.folder) },
    ),
  );
  const release = onStopSignals(controller);
  const end = await controller.run();
  release();
  line.finishPhase();
  return conclude(context, controller, end, ask, (Date.now() - began) / 1000);
}

function conclude(
  context: Context,
  controller: Controller,
  end: RunEnd,
  { folder, id }: { folder: string; id: string },
  seconds: number,
): ExitCode {
  const { state } = controller;
  context.data({
    schema: "tessera.run/v1",
    run: id,
    name: state.name,
    folder,
    outcome: end.outcome,
    error: end.error instanceof TesseraError ? errorJson(end.error) : null,
    attempts: state.attempt,
    incidents: state.incidents,
    checkpoint: state.checkpoint,
    outputs: end.outputs,
    seconds,
  });
  const healed = state.incidents.filter((one) => one.recovered).length;
  if (end.outputs.measure) summary(context, { outputs: end.outputs, healed, seconds });
  if (end.error instanceof TesseraError) {
    context.talk(renderError(end.error, context.lang));
    return end.error.entry.exit;
  }
  if (end.error) throw end.error;
  if (end.outputs.measure) return EXIT.done;
  context.out(
    context.say(
      {
        en: "done: step {step}, {seconds}, {healed} faults healed\n  checkpoint: {path}",
        zh: "完成：第 {step} 步，用時 {seconds}，恢復故障 {healed} 次\n  檢查點：{path}",
      },
      {
        step: end.outputs.train?.step ?? 0,
        seconds: formatSeconds(seconds),
        healed,
        path: shortPath(context, end.outputs.train?.checkpoint ?? "-"),
      },
    ),
  );
  return EXIT.done;
}

/** Ctrl-C: a stop with checkpoint; again: at once; again: this process ends whatever happens. SIGTERM is the first. */
function onStopSignals(controller: Controller): () => void {
  let presses = 0;
  let last = 0;
  const press = () => {
    const now = Date.now();
    if (now - last < SAME_PRESS_MS) return;
    last = now;
    presses++;
    if (presses > 2) process.exit(EXIT.interrupted);
    if (presses === 2) setTimeout(() => process.exit(EXIT.interrupted), NOW_MS).unref();
    controller.stop(presses === 2);
  };
  // The terminal may go away: the run goes on, and `tessera status` finds it.
  const ignore = () => undefined;
  process.on("SIGINT", press).on("SIGTERM", press).on("SIGHUP", ignore);
  process.stderr.on("error", ignore);
  process.stdout.on("error", ignore);
  return () => {
    process.off("SIGINT", press).off("SIGTERM", press).off("SIGHUP", ignore);
  };
}

function writeTalk(text: string): void {
  if (!process.stderr.destroyed) process.stderr.write(text);
}
