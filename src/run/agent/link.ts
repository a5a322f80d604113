import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { type ControllerMessage, encodeLine, LineDecoder, toControllerMessage } from "../wire/index.ts";

/** Where the controller listens now; the file changes when another controller takes over. */
export type ControllerFile = {
  readonly host: string;
  readonly port: number;
  readonly token: string;
  readonly pid: number;
  readonly startTime: string;
  readonly epoch: number;
};

/** The controller's address, or nothing while there is none or it is being written. */
export function readControllerFile(path: string): ControllerFile | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as ControllerFile;
  } catch {
    return undefined;
  }
}

const RETRY_MS = 100;

/** Keeps a connection to whichever controller the file names; work goes on without one. */
export class Link {
  readonly #file: string;
  readonly #hello: (token: string) => unknown;
  readonly #onMessage: (message: ControllerMessage) => void;
  readonly #onState: (connected: boolean) => void;
  #socket: Socket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(
    file: string,
    events: {
      hello(token: string): unknown;
      message(message: ControllerMessage): void;
      state(connected: boolean): void;
    },
  ) {
    this.#file = file;
    this.#hello = events.hello;
    this.#onMessage = events.message;
    this.#onState = events.state;
    this.#try();
  }

  /** Sends if connected; what must not be lost is in the outbox as well. */
  send(message: unknown): void {
    if (this.#socket?.writable) this.#socket.write(encodeLine(message));
  }

  /** Sends what waits and closes for good. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    if (!socket || socket.destroyed) return;
    await new Promise<void>((resolve) => {
      socket.once("close", () => resolve());
      socket.end();
      setTimeout(() => socket.destroy(), 500).unref();
    });
  }

  #try(): void {
    const at = readControllerFile(this.#file);
    if (!at) return this.#later();
    const decoder = new LineDecoder();
    const socket = connect({ host: at.host, port: at.port, noDelay: true });
    let welcome = false;
    socket.on("connect", () => socket.write(encodeLine(this.#hello(at.token))));
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      for (const value of decoder.push(chunk)) {
        const message = toControllerMessage(value);
        if (!message) continue;
        if (message.kind === "welcome") {
          welcome = true;
          this.#socket = socket;
          this.#onState(true);
        }
        this.#onMessage(message);
      }
    });
    socket.on("close", () => {
      if (this.#socket === socket) this.#socket = undefined;
      if (welcome) this.#onState(false);
      this.#later();
    });
  }

  #later(): void {
    if (!this.#closed) this.#timer = setTimeout(() => this.#try(), RETRY_MS);
  }
}
