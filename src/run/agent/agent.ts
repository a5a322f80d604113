import { appendFileSync, mkdirSync, rmSync, statfsSync } from "node:fs";
import { createServer } from "node:net";
import { hostname } from "node:os";
import { writeFileAtomic } from "../../base/node.ts";
import { hostMemoryEnv } from "../engine/index.ts";
import { paths, socketPath, zygotePath } from "../paths.ts";
import { processId, processStat, signalProcess } from "../processes.ts";
import { type AgentMessage, type ControllerMessage, encodeLine, type ZygoteMessage } from "../wire/index.ts";
import { type AgentConfig, type AgentFile, readAgentFile } from "./config.ts";
import { Link } from "./link.ts";
import { Outbox } from "./outbox.ts";
import { Workers } from "./workers.ts";
import { Zygote, type ZygoteNote } from "./zygote.ts";

type Rank = { pid: number | null; exited: boolean; code: number | null; signal: number | null };

/** Longest wait for the last words of a dead rank, before its exit is told. */
const DRAIN_MS = 100;

/**
 * One node's agent: holds the zygote, spawns ranks for the controller, carries what they say to it. It decides nothing. Without a
 * controller the ranks work on and the outbox fills; if the agent dies, its ranks die with it.
 */
export class Agent {
  readonly #config: AgentConfig;
  readonly #paths: ReturnType<typeof paths>;
  readonly #outbox = new Outbox(1);
  readonly #workers: Workers;
  readonly #zygote: Zygote;
  readonly #link: Link;
  readonly #end: (code: number) => void;
  readonly #ranks = new Map<number, Rank>();
  readonly #beat: NodeJS.Timeout;
  #attempt = 0;
  #parent: ZygoteNote | null = null;
  #ready: Extract<ZygoteMessage, { kind: "ready" }> | undefined;
  #zygoteLost: Extract<AgentMessage, { kind: "zygote_lost" }> | undefined;
  #connected = false;
  #aloneSince = Date.now();
  #ending = false;

  /** `end` is called once, when the agent is through, with its exit code. */
  constructor(config: AgentConfig, end: (code: number) => void) {
    this.#config = config;
    this.#end = end;
    this.#paths = paths(config.folder);
    mkdirSync(this.#paths.logs, { recursive: true });
    const left = this.#endStrays();
    this.#parent = left ?? null;
    this.#note();
    this.#workers = new Workers(socketPath(config.folder, config.agent, process.pid), (message) => {
      this.#link.send(this.#outbox.add({ kind: "telemetry", message }));
    });
    const socket = zygotePath(config.folder, config.agent, config.zygote);
    const log = this.#paths.agentLog(config.agent);
    this.#zygote = new Zygote(
      config.zygote,
      { socket, log, left },
      {
        message: (message) => this.#onZygote(message),
        noted: (note) => {
          this.#parent = note;
          this.#note();
        },
        gone: (code, text) => this.#onZygoteGone(code, text),
      },
    );
    this.#link = new Link(this.#paths.controller, {
      hello: (token) => this.#join(token),
      message: (message) => this.#obey(message),
      state: (connected) => {
        this.#connected = connected;
        this.#aloneSince = Date.now();
        if (connected) this.#resend();
      },
    });
    this.#beat = setInterval(() => this.#onBeat(), config.beatSeconds * 1000);
  }

  listen(): Promise<void> {
    return this.#workers.listen();
  }

  /** Ends ranks and zygote, keeps on disk what the controller has not had, and reports the end. */
  async quit(code: number): Promise<void> {
    if (this.#ending) return;
    this.#ending = true;
    clearInterval(this.#beat);
    this.#zygote.quit();
    this.#workers.close();
    await this.#link.close();
    const left = this.#outbox.waiting;
    if (left.length > 0) {
      appendFileSync(
        this.#paths.agentSpool(this.#config.agent),
        left.map((one) => encodeLine({ ...one, instance: this.#config.instance })).join(""),
      );
    }
    this.#end(code);
  }

  #join(token: string): AgentMessage {
    return {
      kind: "join",
      token,
      agent: this.#config.agent,
      instance: this.#config.instance,
      pid: process.pid,
      host: hostname(),
      attempt: this.#attempt,
      ranks: [...this.#ranks].map(([rank, one]) => ({
        rank,
        pid: one.pid,
        // An exit that the controller has not acknowledged is still to come, after the join.
        state: one.exited && !this.#unsaid(rank) ? "exited" : "running",
        code: one.code,
        signal: one.signal,
      })),
      zygote: this.#ready !== undefined,
    };
  }

  #unsaid = (rank: number): boolean =>
    this.#outbox.waiting.some(
      (one) => one.kind === "exited" && one.rank === rank && one.attempt === this.#attempt,
    );

  #resend(): void {
    if (this.#ready) this.#sayReady(this.#ready);
    if (this.#zygoteLost) this.#link.send(this.#zygoteLost);
    for (const message of this.#outbox.waiting) this.#link.send(message);
  }

  #sayReady({ torch, transformers, pid }: Extract<ZygoteMessage, { kind: "ready" }>): void {
    this.#link.send({ kind: "zygote", torch, transformers, pid } satisfies AgentMessage);
  }

  #obey(message: ControllerMessage): void {
    switch (message.kind) {
      case "welcome":
        break;
      case "refused":
      case "quit":
        void this.quit(0);
        break;
      case "master":
        void this.#freePort(message.attempt);
        break;
      case "spawn":
        this.#spawn(message);
        break;
      case "kill":
        if (message.attempt !== this.#attempt) break;
        for (const [rank, one] of this.#ranks) if (!one.exited) this.#zygote.kill(rank, message.signal);
        break;
      case "command":
        this.#workers.send(message.rank, message.command);
        break;
      case "ack":
        this.#outbox.acknowledge(message.seq);
        break;
      default:
        message satisfies never;
    }
  }

  /** An attempt is spawned once: an order that comes again, or late, has no effect. */
  #spawn({ attempt, ranks, spec }: Extract<ControllerMessage, { kind: "spawn" }>): void {
    if (attempt <= this.#attempt) return;
    this.#attempt = attempt;
    this.#ranks.clear();
    this.#workers.forgetCommands();
    // Before the first of them takes any.
    const memory = hostMemoryEnv();
    for (const { rank, env } of ranks) {
      this.#ranks.set(rank, { pid: null, exited: false, code: null, signal: null });
      this.#zygote.spawn(
        rank,
        { ...env, ...memory, TESSERA_SOCKET: this.#workers.path },
        spec,
        this.#paths.rankLog(rank),
      );
    }
  }

  #onZygote(message: ZygoteMessage): void {
    switch (message.kind) {
      case "ready":
        this.#ready = message;
        this.#sayReady(message);
        break;
      case "spawned": {
        const rank = this.#ranks.get(message.rank);
        if (rank) rank.pid = message.pid;
        this.#link.send({ ...message, attempt: this.#attempt } satisfies AgentMessage);
        if ([...this.#ranks.values()].every((one) => one.pid !== null)) this.#note();
        break;
      }
      case "exited":
        void this.#exited(message, this.#attempt);
        break;
      default:
        message satisfies never;
    }
  }

  async #exited(message: Extract<ZygoteMessage, { kind: "exited" }>, attempt: number): Promise<void> {
    const t = Date.now() / 1000;
    await this.#workers.drained(message.rank, DRAIN_MS);
    const { code, signal } = message;
    const rank = this.#ranks.get(message.rank);
    if (rank && attempt === this.#attempt) Object.assign(rank, { exited: true, code, signal });
    this.#link.send(this.#outbox.add({ kind: "exited", attempt, rank: message.rank, code, signal, t }));
  }

  #onZygoteGone(code: number | null, text: string): void {
    if (this.#ending) return;
    if (this.#ready) {
      // It had worked: a fault of this node, which a new agent mends.
      void this.quit(1);
      return;
    }
    this.#zygoteLost = { kind: "zygote_lost", code, text };
    this.#link.send(this.#zygoteLost);
  }

  async #freePort(attempt: number): Promise<void> {
    const server = createServer();
    const port = await new Promise<number>((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, this.#config.host, () => {
        const at = server.address();
        server.close(() => resolve(typeof at === "object" && at ? at.port : 0));
      });
    });
    this.#link.send({ kind: "master", attempt, host: this.#config.host, port } satisfies AgentMessage);
  }

  #onBeat(): void {
    const working = [...this.#ranks.values()].some((one) => !one.exited);
    if (!this.#connected && !working && Date.now() - this.#aloneSince > this.#config.orphanSeconds * 1000) {
      void this.quit(0);
      return;
    }
    const processes = [...this.#ranks].flatMap(([rank, { pid, exited }]) => {
      const stat = pid !== null && !exited ? processStat(pid) : undefined;
      return stat ? [{ rank, state: stat.state, cpuSeconds: stat.cpuSeconds }] : [];
    });
    this.#link.send({
      kind: "beat",
      t: Date.now() / 1000,
      disk: this.#disk(),
      processes,
      dropped: this.#outbox.dropped,
    } satisfies AgentMessage);
  }

  #disk(): { freeBytes: number; totalBytes: number } | null {
    try {
      const { bavail, blocks, bsize } = statfsSync(this.#config.folder);
      return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
    } catch {
      return null;
    }
  }

  #note(): void {
    const ranks = [...this.#ranks.values()].flatMap((one) => (one.pid === null ? [] : [processId(one.pid)]));
    const file: AgentFile = {
      ...processId(process.pid),
      instance: this.#config.instance,
      ranks,
      zygote: this.#parent,
    };
    try {
      writeFileAtomic(this.#paths.agentFile(this.#config.agent), JSON.stringify(file));
    } catch {
      // A full disk: the kernel's parent-death signal still ends the ranks with us.
      return;
    }
  }

  /**
   * Ranks of an agent that died before: their zygote ends them, but two generations must never train at once. Returns the zygote
   * that the other one noted.
   */
  #endStrays(): ZygoteNote | undefined {
    const file = readAgentFile(this.#config.folder, this.#config.agent);
    if (!file) return undefined;
    for (const id of file.ranks) signalProcess(id, "SIGKILL");
    rmSync(socketPath(this.#config.folder, this.#config.agent, file.pid), { force: true });
    return file.zygote ?? undefined;
  }
}
