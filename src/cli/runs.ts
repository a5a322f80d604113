import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join, relative, resolve } from "node:path";
import { EXIT, type ExitCode } from "../base/index.ts";
import {
  type AgentFile,
  isAlive,
  JOURNAL_FILE,
  paths,
  readControllerFile,
  readJournal,
  readLastStep,
  replay,
  runError,
  type RunState,
  type StepMessage,
} from "../run/index.ts";
import type { Context } from "./context.ts";
import { readFileSync } from "node:fs";

/** running: a controller is at work. unattended: ranks train without one. interrupted: nobody works and it has not ended. */
export type Condition = "running" | "unattended" | "interrupted" | "done" | "stopped" | "failed" | "refused";

export type RunView = {
  readonly name: string;
  readonly id: string;
  readonly folder: string;
  readonly condition: Condition;
  readonly state: RunState;
};

/** Folder of all runs: `--runs`, else TESSERA_RUNS, else `runs` here. */
export const runsFolder = (context: Context, asked?: string): string =>
  resolve(context.cwd, asked ?? context.env["TESSERA_RUNS"] ?? "runs");

/** Every run under a folder, the one that moved last first. */
export function listRuns(folder: string): RunView[] {
  const inside = (path: string): string[] =>
    existsSync(path) && statSync(path).isDirectory() ? readdirSync(path).map((name) => join(path, name)) : [];
  return inside(folder)
    .flatMap(inside)
    .filter((path) => existsSync(join(path, JOURNAL_FILE)))
    .map(viewRun)
    .sort((a, b) => b.state.lastAt - a.state.lastAt);
}

export function viewRun(folder: string): RunView {
  const state = replay(readJournal(folder));
  return {
    name: basename(resolve(folder, "..")),
    id: basename(folder),
    folder,
    condition: conditionOf(folder, state),
    state,
  };
}

function conditionOf(folder: string, state: RunState): Condition {
  const controller = readControllerFile(paths(folder).controller);
  if (controller && isAlive(controller)) return "running";
  if (state.ended) return state.ended.outcome;
  return agentsOf(folder).some(isAlive) ? "unattended" : "interrupted";
}

/** Agents that noted themselves in a run folder, alive or not. */
export function agentsOf(folder: string): AgentFile[] {
  const where = join(folder, "agents");
  if (!existsSync(where)) return [];
  return readdirSync(where)
    .filter((name) => name.endsWith(".json") && !name.startsWith("."))
    .flatMap((name) => {
      try {
        return [JSON.parse(readFileSync(join(where, name), "utf8")) as AgentFile];
      } catch {
        return [];
      }
    });
}

/** The run a person means: a folder, a name (its newest run), `name/id`, an id or its beginning; nothing given: the newest of all. */
export function findRun(runs: string, asked: string | undefined): RunView {
  if (asked !== undefined && existsSync(join(asked, JOURNAL_FILE))) return viewRun(resolve(asked));
  const all = listRuns(runs);
  const missing = runError("RUN_NOT_FOUND", { run: asked ?? "", folder: runs }, { file: runs });
  if (asked === undefined) {
    const [newest] = all;
    if (!newest) throw missing;
    return newest;
  }
  const [named] = all.filter((one) => one.name === asked);
  if (named) return named;
  const matching = all.filter((one) => one.id.startsWith(asked) || `${one.name}/${one.id}`.startsWith(asked));
  if (matching.length > 1) {
    throw runError("RUN_AMBIGUOUS", {
      run: asked,
      which: matching.map((one) => `${one.name}/${one.id}`).join(", "),
    });
  }
  const [only] = matching;
  if (!only) throw missing;
  return only;
}

export const lastStep = (folder: string): StepMessage | undefined => readLastStep(paths(folder).series);

/** Exit code that goes with how a run ended. */
export function exitOf(condition: Condition): ExitCode {
  switch (condition) {
    case "done":
      return EXIT.done;
    case "refused":
      return EXIT.gateRefused;
    case "stopped":
    case "interrupted":
      return EXIT.interrupted;
    case "failed":
      return EXIT.failedRun;
    case "running":
    case "unattended":
      return EXIT.done;
    default:
      return condition satisfies never;
  }
}

/** A run's condition in the user's language. */
export const conditionText = (condition: Condition, context: Context): string =>
  context.say(
    {
      running: { en: "running", zh: "執行中" },
      unattended: { en: "unattended", zh: "無人看守" },
      interrupted: { en: "interrupted", zh: "中斷" },
      done: { en: "done", zh: "完成" },
      stopped: { en: "stopped", zh: "已停止" },
      failed: { en: "failed", zh: "失敗" },
      refused: { en: "gate refused", zh: "閘門未放行" },
    }[condition],
  );

/** A path as short as it can be typed here. */
export const shortPath = (context: Context, path: string): string => {
  const near = relative(context.cwd, path);
  return near.startsWith("..") ? path : near || ".";
};
