import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, rmSync, statSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { type ProcessId, processId, processStat, signalProcess } from "../processes.ts";
import { encodeLine, LineDecoder, toZygoteMessage, type ZygoteMessage } from "../wire/index.ts";

/** How the zygote is started: the engine's by default, a test's own program otherwise. It gets its socket and its patience as arguments. */
export type ZygoteCommand = {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
};

/** A zygote as agents note it. One that was ready answers at once; one that was not may still be importing. */
export type ZygoteNote = ProcessId & { readonly ready: boolean };

export type ZygoteEvents = {
  message(message: ZygoteMessage): void;
  /** Another one is there from now on, or the same one became ready. */
  noted(note: ZygoteNote): void;
  /** The zygote is gone and with it every rank: its exit code, and the end of what it wrote. */
  gone(code: number | null, text: string): void;
};

/** Without an agent the zygote ends after this long. */
const PATIENCE_SECONDS = 60;
/** One that was ready before answers when the ranks before are gone. If it is stopped or says nothing for so long, it is stuck. */
const ANSWER_SECONDS = { stopped: 2, silent: 30 };
const RETRY_MS = 20;
const TAIL = 2000;

/**
 * The pre-imported parent of the ranks. It outlives its agent by some time: the next agent connects to the one that is there, which by
 * then has ended the ranks of the agent before; only if there is none is one started, which costs the import.
 */
export class Zygote {
  readonly #command: ZygoteCommand;
  readonly #path: string;
  readonly #log: string;
  readonly #events: ZygoteEvents;
  #note: ZygoteNote | undefined;
  #socket: Socket | undefined;
  #ready = false;
  #ended = false;

  constructor(
    command: ZygoteCommand,
    at: { readonly socket: string; readonly log: string; readonly left: ZygoteNote | undefined },
    events: ZygoteEvents,
  ) {
    this.#command = command;
    this.#path = at.socket;
    this.#log = at.log;
    this.#note = at.left;
    this.#events = events;
    this.#connect(() => this.#start());
  }

  spawn(rank: number, env: Readonly<Record<string, string>>, spec: string, stdout: string): void {
    this.#send({ do: "spawn", rank, env, spec, stdout });
  }

  kill(rank: number, signal: number): void {
    this.#send({ do: "kill", rank, signal });
  }

  /** The zygote ends its ranks and itself; one that is not ready has none and hears nothing yet. */
  quit(): void {
    this.#ended = true;
    if (this.#ready) this.#socket?.end(encodeLine({ do: "quit" }));
    else if (this.#note) signalProcess(this.#note, "SIGTERM");
  }

  #start(): void {
    if (this.#ended) return;
    rmSync(this.#path, { force: true });
    const log = openSync(this.#log, "a");
    const from = statSync(this.#log).size;
    const { command, args, env } = this.#command;
    const child: ChildProcess = spawn(command, [...args, this.#path, String(PATIENCE_SECONDS)], {
      env: { ...process.env, ...env },
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    if (child.pid !== undefined) this.#noted({ ...processId(child.pid), ready: false });
    let over = false;
    const gone = (code: number | null, text: string) => {
      over = true;
      this.#gone(code, text);
    };
    child.on("error", (cause) => gone(null, cause.message));
    child.on("exit", (code, signal) => gone(code, this.#tail(from) || `ended by ${signal ?? code}`));
    // It listens before it imports.
    const retry = () => {
      if (!over && !this.#ended) setTimeout(() => this.#connect(retry), RETRY_MS);
    };
    retry();
  }

  /** Speaks to whoever listens; `nobody` is called when nobody does, or one that does not answer had to be ended. */
  #connect(nobody: () => void): void {
    const socket = connect(this.#path);
    const decoder = new LineDecoder();
    let stuck: NodeJS.Timeout | undefined;
    socket.on("error", () => undefined);
    socket.on("connect", () => {
      this.#socket = socket;
      const note = this.#note;
      if (!note?.ready) return;
      const since = Date.now();
      stuck = setInterval(() => {
        const silent = (Date.now() - since) / 1000;
        const stopped = processStat(note.pid)?.state === "T" && silent > ANSWER_SECONDS.stopped;
        if (!stopped && silent < ANSWER_SECONDS.silent) return;
        signalProcess(note, "SIGKILL");
        this.#note = undefined;
        socket.destroy();
      }, 500);
    });
    socket.on("data", (chunk: Buffer) => {
      for (const value of decoder.push(chunk)) {
        const message = toZygoteMessage(value);
        if (!message) continue;
        if (message.kind === "ready") {
          this.#ready = true;
          clearInterval(stuck);
          this.#noted({ ...processId(message.pid), ready: true });
        }
        this.#events.message(message);
      }
    });
    socket.on("close", () => {
      clearInterval(stuck);
      this.#socket = undefined;
      if (this.#ready) this.#gone(null, "its connection closed");
      else nobody();
    });
  }

  #noted(note: ZygoteNote): void {
    this.#note = note;
    this.#events.noted(note);
  }

  #gone(code: number | null, text: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#events.gone(code, text);
  }

  /** What was written to the log since the zygote was started: its last words. */
  #tail(from: number): string {
    return readFileSync(this.#log).subarray(from).toString("utf8").slice(-TAIL).trim();
  }

  #send(message: unknown): void {
    if (this.#socket?.writable) this.#socket.write(encodeLine(message));
  }
}
