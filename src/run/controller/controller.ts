import { mkdirSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { basename } from "node:path";
import { stringify } from "yaml";
import { type Result, TesseraError } from "../../base/index.ts";
import { writeFileAtomic } from "../../base/node.ts";
import { readControllerFile } from "../agent/link.ts";
import type { ZygoteCommand } from "../agent/zygote.ts";
import { fail } from "../errors.ts";
import { Journal, type JournalEvent, type Outcome, type RunState, type Verdict } from "../journal/index.ts";
import type { Launcher } from "../launcher/index.ts";
import { type Lock, tryLock } from "../lock.ts";
import { paths } from "../paths.ts";
import {
  type Outputs,
  type PipelineOptions,
  runPipeline,
  verdictOf,
  type Phases,
} from "../pipeline/index.ts";
import type { LoadedRecipe, Recipe } from "../recipe/index.ts";
import type { Watch } from "../watching.ts";
import type { WorkerMessage } from "../wire/index.ts";
import { Hub } from "./hub.ts";
import type { Training } from "./train.ts";
import { trainPhase } from "./train-phase.ts";

export type RunOptions = {
  /** The run folder, `runs/<name>/<id>`; made when it is not there. */
  readonly folder: string;
  readonly id: string;
  readonly loaded: LoadedRecipe;
  readonly version: string;
  readonly phases: Phases;
  readonly launcher: (world: number) => Launcher;
  readonly watch: (policy: Recipe["watch"]) => Watch;
  readonly zygote: () => Result<ZygoteCommand>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly onProgress: PipelineOptions["onProgress"];
  readonly onPhase?: PipelineOptions["onPhase"];
  readonly onEvent?: (event: JournalEvent, state: RunState) => void;
  readonly onMessage?: (message: WorkerMessage) => void;
};

export type RunEnd = {
  readonly outcome: Outcome;
  readonly verdict: Verdict | null;
  /** The failure itself, when there was one; bugs come as they were thrown. */
  readonly error: unknown;
  readonly outputs: Partial<Outputs>;
};

/** Runs a recipe in its folder, from wherever its journal says it is, to an end. One controller at a time has a folder. */
export class Controller {
  readonly #options: RunOptions;
  readonly #lock: Lock;
  readonly #journal: Journal;
  readonly #abort = new AbortController();
  #training: Training | null = null;
  #stopAsked: "no" | "soft" | "now" = "no";

  private constructor(options: RunOptions, lock: Lock, journal: Journal) {
    this.#options = options;
    this.#lock = lock;
    this.#journal = journal;
  }

  /** Takes the folder; throws RUN_LOCKED when another controller has it, RUN_FOLDER when it cannot be used. */
  static open(options: RunOptions): Controller {
    const { folder, id, loaded, version } = options;
    const where = paths(folder);
    let lock: Lock | undefined;
    try {
      mkdirSync(folder, { recursive: true });
      lock = tryLock(where.lock);
    } catch (cause) {
      throw folderFault(folder, cause);
    }
    if (!lock) {
      throw fail(
        "RUN_LOCKED",
        { pid: readControllerFile(where.controller)?.pid ?? "?", run: id },
        { file: folder },
      );
    }
    try {
      const journal = new Journal(folder, () => Date.now() / 1000);
      if (journal.state.run === "") {
        writeFileAtomic(where.recipe, lockedRecipe(loaded));
        journal.write({ kind: "created", run: id, name: basename(loaded.recipe.name), version });
      }
      if (options.onEvent) journal.onEvent(options.onEvent);
      return new Controller(options, lock, journal);
    } catch (cause) {
      lock.release();
      throw cause instanceof TesseraError ? cause : folderFault(folder, cause);
    }
  }

  get state(): RunState {
    return this.#journal.state;
  }

  /** Stops with a checkpoint; `now`: without. */
  stop(now: boolean): void {
    this.#stopAsked = now ? "now" : "soft";
    this.#abort.abort();
    this.#training?.stop(now);
  }

  /** To the end of the run. Never throws: how it ended is in what it returns. */
  async run(): Promise<RunEnd> {
    const { folder, loaded, id, env } = this.#options;
    const journal = this.#journal;
    let hub: Hub | undefined;
    let end: RunEnd;
    try {
      const epoch = journal.state.epoch + 1;
      journal.write({ kind: "controller", epoch, pid: process.pid, host: hostname() });
      hub = await Hub.open(folder, epoch);
      hub.onIdleClient = (message) => {
        if (message.do === "stop" || message.do === "stop_now") this.stop(message.do === "stop_now");
        return { ok: message.do !== "checkpoint" };
      };
      const outputs = await runPipeline({
        journal,
        phases: { ...this.#options.phases, train: this.#trainPhase(hub) },
        context: {
          run: id,
          folder,
          recipe: loaded.recipe,
          recipeFolder: loaded.folder,
          env,
          signal: this.#abort.signal,
        },
        onProgress: this.#options.onProgress,
        ...(this.#options.onPhase ? { onPhase: this.#options.onPhase } : {}),
        now: () => Date.now() / 1000,
      });
      const refused = outputs.measure?.gate === "refused";
      end = {
        outcome: refused ? "refused" : "done",
        verdict: refused ? { code: "RUN_GATE_REFUSED", params: { report: paths(folder).report } } : null,
        error: refused ? fail("RUN_GATE_REFUSED", { report: paths(folder).report }) : null,
        outputs,
      };
    } catch (cause) {
      const stopped =
        cause instanceof TesseraError && (cause.code === "RUN_STOPPED" || cause.code === "RUN_INTERRUPTED");
      end = { outcome: stopped ? "stopped" : "failed", verdict: verdictOf(cause), error: cause, outputs: {} };
    }
    try {
      journal.write({ kind: "ended", outcome: end.outcome, verdict: end.verdict });
    } catch (cause) {
      end = { ...end, outcome: "failed", error: end.error ?? cause };
    }
    await hub?.close();
    journal.close();
    this.#lock.release();
    return end;
  }

  #trainPhase(hub: Hub) {
    const { launcher, watch, zygote, loaded, onMessage } = this.#options;
    return trainPhase({
      journal: this.#journal,
      hub,
      launcher,
      watch: watch(loaded.recipe.watch),
      zygote,
      onTraining: (training) => {
        this.#training = training;
        if (training && this.#stopAsked !== "no") training.stop(this.#stopAsked === "now");
      },
      ...(onMessage ? { onMessage } : {}),
    });
  }
}

/** The recipe as it is meant: defaults filled in, paths absolute, so that it can be resumed from anywhere. */
export function lockedRecipe({ recipe, folder, file }: LoadedRecipe): string {
  return `# Locked from ${file}\n# folder: ${JSON.stringify(folder)}\n${stringify(recipe)}`;
}

/** The folder that a locked recipe's paths are relative to. */
export function lockedFolder(path: string): string {
  const line = readFileSync(path, "utf8")
    .split("\n")
    .find((text) => text.startsWith("# folder: "));
  return line ? (JSON.parse(line.slice("# folder: ".length)) as string) : "";
}

const folderFault = (path: string, cause: unknown): TesseraError =>
  fail(
    "RUN_FOLDER",
    { path, why: (cause as NodeJS.ErrnoException).code ?? String(cause) },
    { file: path },
    cause,
  );
