import { randomBytes, timingSafeEqual } from "node:crypto";
import { chmodSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { writeFileAtomic } from "../../base/node.ts";
import { type ControllerFile, readControllerFile } from "../agent/link.ts";
import { paths } from "../paths.ts";
import { processId } from "../processes.ts";
import {
  type AgentMessage,
  type ClientMessage,
  type ControllerMessage,
  encodeLine,
  LineDecoder,
  toAgentMessage,
  toClientMessage,
} from "../wire/index.ts";

export type Join = Extract<AgentMessage, { kind: "join" }>;
export type HubEvents = {
  joined(join: Join): void;
  /** `instance`: of the agent that says it, who may be one that another has come after. */
  message(agent: string, instance: number, message: AgentMessage): void;
  left(agent: string, instance: number): void;
  /** A person's command from another terminal; the answer goes back. */
  client(message: ClientMessage): unknown;
};

/** Where agents and people's commands reach the controller: one TCP port on loopback, a token to be let in. */
export class Hub {
  readonly #server: Server;
  readonly #token: Buffer;
  readonly #epoch: number;
  readonly #agents = new Map<string, { socket: Socket; instance: number }>();
  #events: HubEvents | undefined;
  #waiting: { join: Join; socket: Socket }[] = [];

  private constructor(token: string, epoch: number) {
    this.#token = Buffer.from(token);
    this.#epoch = epoch;
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
  }

  /** Listens on a free port and writes it, with the run's token, where agents and commands look for it. */
  static async open(folder: string, epoch: number): Promise<Hub> {
    const file = paths(folder).controller;
    const token = readControllerFile(file)?.token ?? randomBytes(24).toString("hex");
    const hub = new Hub(token, epoch);
    const host = "127.0.0.1";
    const port = await new Promise<number>((resolve, reject) => {
      hub.#server.once("error", reject);
      hub.#server.listen(0, host, () => {
        const at = hub.#server.address();
        resolve(typeof at === "object" && at ? at.port : 0);
      });
    });
    const content: ControllerFile = { host, port, token, epoch, ...processId(process.pid) };
    writeFileAtomic(file, JSON.stringify(content));
    chmodSync(file, 0o600);
    return hub;
  }

  /** Hands agents to a training, or to nobody; those that came before it are told at once. */
  attach(events: HubEvents | undefined): void {
    this.#events = events;
    if (!events) return;
    const early = this.#waiting;
    this.#waiting = [];
    for (const { join, socket } of early) if (!socket.destroyed) this.#admit(join, socket);
  }

  /** Answers commands while no training is attached. */
  onIdleClient: (message: ClientMessage) => unknown = () => ({ ok: false });

  send(agent: string, message: ControllerMessage): void {
    const socket = this.#agents.get(agent)?.socket;
    if (socket?.writable) socket.write(encodeLine(message));
  }

  has = (agent: string): boolean => this.#agents.has(agent);

  async close(): Promise<void> {
    for (const { socket } of this.#agents.values()) socket.end();
    for (const { socket } of this.#waiting) socket.end();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      setTimeout(() => {
        for (const { socket } of this.#agents.values()) socket.destroy();
        resolve();
      }, 300).unref();
    });
  }

  #accept(socket: Socket): void {
    const decoder = new LineDecoder();
    let joined: Join | undefined;
    socket.on("error", () => undefined);
    // Whoever says nothing useful soon is sent away.
    const timer = setTimeout(() => socket.destroy(), 10_000);
    socket.on("close", () => clearTimeout(timer));
    socket.on("data", (chunk) => {
      for (const value of decoder.push(chunk)) {
        if (joined) {
          const message = toAgentMessage(value);
          if (message && message.kind !== "join")
            this.#events?.message(joined.agent, joined.instance, message);
          continue;
        }
        const client = toClientMessage(value);
        const join = toAgentMessage(value);
        if (client && this.#lets(client.token)) {
          socket.end(encodeLine((this.#events?.client ?? this.onIdleClient)(client) ?? { ok: true }));
        } else if (join?.kind === "join" && this.#lets(join.token)) {
          joined = join;
          clearTimeout(timer);
          if (this.#events) this.#admit(join, socket);
          else this.#waiting.push({ join, socket });
        } else {
          socket.end(encodeLine({ kind: "refused", why: "token" } satisfies ControllerMessage));
          return;
        }
      }
    });
  }

  #admit(join: Join, socket: Socket): void {
    const { agent, instance } = join;
    this.#agents.get(agent)?.socket.destroy();
    this.#agents.set(agent, { socket, instance });
    socket.on("close", () => {
      if (this.#agents.get(agent)?.socket !== socket) return;
      this.#agents.delete(agent);
      this.#events?.left(agent, instance);
    });
    // First of all the welcome: an agent answers only after it, and the join may bring orders at once. What it then sends
    // again comes after this function, when the join is taken in.
    socket.write(encodeLine({ kind: "welcome", epoch: this.#epoch } satisfies ControllerMessage));
    this.#events?.joined(join);
  }

  #lets(token: string): boolean {
    const given = Buffer.from(token);
    return given.length === this.#token.length && timingSafeEqual(given, this.#token);
  }
}
