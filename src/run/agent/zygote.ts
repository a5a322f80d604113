import { type ChildProcess, spawn } from "node:child_process";
import { openSync, writeSync } from "node:fs";
import { encodeLine, LineDecoder, toZygoteMessage, type ZygoteMessage } from "../wire/index.ts";

/** How the zygote is started: the engine's by default, a test's own program otherwise. */
export type ZygoteCommand = {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
};

export type ZygoteEvents = {
  message(message: ZygoteMessage): void;
  /** The zygote is gone and with it every rank: its exit code or signal, and the end of what it wrote on stderr. */
  gone(code: number | null, text: string): void;
};

const TAIL = 2000;

/** The pre-imported parent of the ranks, as a child of this process: when we die its stdin closes, and it ends with its ranks. */
export class Zygote {
  readonly #child: ChildProcess;
  #tail = "";
  #gone = false;

  constructor(command: ZygoteCommand, logPath: string, events: ZygoteEvents) {
    const log = openSync(logPath, "a");
    this.#child = spawn(command.command, [...command.args], {
      env: { ...process.env, ...command.env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const decoder = new LineDecoder();
    const gone = (code: number | null, text: string) => {
      if (this.#gone) return;
      this.#gone = true;
      events.gone(code, text);
    };
    this.#child.stdout?.on("data", (chunk: Buffer) => {
      for (const value of decoder.push(chunk)) {
        const message = toZygoteMessage(value);
        if (message) events.message(message);
        else writeLog(log, encodeLine(value));
      }
    });
    this.#child.stderr?.on("data", (chunk: Buffer) => {
      this.#tail = (this.#tail + chunk.toString("utf8")).slice(-TAIL);
      writeLog(log, chunk);
    });
    this.#child.stdin?.on("error", () => undefined);
    this.#child.on("error", (cause) => gone(null, cause.message));
    this.#child.on("close", (code, signal) => gone(code, this.#tail.trim() || `ended by ${signal ?? code}`));
  }

  get pid(): number | null {
    return this.#child.pid ?? null;
  }

  spawn(rank: number, env: Readonly<Record<string, string>>, spec: string, stdout: string): void {
    this.#send({ do: "spawn", rank, env, spec, stdout });
  }

  kill(rank: number, signal: number): void {
    this.#send({ do: "kill", rank, signal });
  }

  /** Closes stdin: the zygote ends its ranks and itself. */
  quit(): void {
    this.#child.stdin?.end();
  }

  #send(message: unknown): void {
    if (!this.#gone) this.#child.stdin?.write(encodeLine(message));
  }
}

/** A log that cannot be written (disk full) is no reason to stop the ranks. */
function writeLog(fd: number, content: string | Uint8Array): void {
  try {
    if (typeof content === "string") writeSync(fd, content);
    else writeSync(fd, content);
  } catch {
    return;
  }
}
