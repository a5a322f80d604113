import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { turns } from "../turns.ts";
import {
  encodeLine,
  LineDecoder,
  toWorkerMessage,
  type WorkerCommand,
  type WorkerMessage,
} from "../wire/index.ts";

/**
 * The unix socket that ranks write to. It only reads, never makes a rank wait: what a rank sends goes to `onMessage` at once.
 * Commands for a rank that is not connected wait until it is.
 */
export class Workers {
  readonly path: string;
  readonly #server: Server;
  readonly #sockets = new Map<number, Socket>();
  readonly #commands = new Map<number, WorkerCommand[]>();
  readonly #onMessage: (message: WorkerMessage) => void;

  constructor(path: string, onMessage: (message: WorkerMessage) => void) {
    this.path = path;
    this.#onMessage = onMessage;
    rmSync(path, { force: true });
    this.#server = createServer((socket) => this.#accept(socket));
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(this.path, resolve);
    });
  }

  send(rank: number, command: WorkerCommand): void {
    const socket = this.#sockets.get(rank);
    if (socket?.writable) socket.write(encodeLine(command));
    else this.#commands.set(rank, [...(this.#commands.get(rank) ?? []), command]);
  }

  /** A new attempt: orders to the ranks before it mean nothing to the new ones. */
  forgetCommands(): void {
    this.#commands.clear();
  }

  /**
   * Resolves when all that a dead rank sent has been read, or after a moment if its socket does not close. Its connection and its words
   * are in the kernel when its end is told, but this process may not have looked yet, or not for longer than the moment.
   */
  async drained(rank: number, waitMs: number): Promise<void> {
    await turns();
    const socket = this.#sockets.get(rank);
    if (!socket || socket.closed) return;
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), waitMs);
    await once(socket, "close", { signal: late.signal }).catch(turns);
    clearTimeout(timer);
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets.values()) socket.destroy();
    rmSync(this.path, { force: true });
  }

  #accept(socket: Socket): void {
    const decoder = new LineDecoder();
    let owner: number | undefined;
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      for (const value of decoder.push(chunk)) {
        const message = toWorkerMessage(value);
        if (!message) continue;
        if (owner !== message.rank) {
          owner = message.rank;
          this.#sockets.set(owner, socket);
          for (const command of this.#commands.get(owner) ?? []) socket.write(encodeLine(command));
          this.#commands.delete(owner);
        }
        this.#onMessage(message);
      }
    });
    socket.on("close", () => {
      if (owner !== undefined && this.#sockets.get(owner) === socket) this.#sockets.delete(owner);
    });
  }
}
