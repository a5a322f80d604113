import { existsSync, readFileSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { AgentConfig } from "../agent/config.ts";
import type { ZygoteCommand } from "../agent/zygote.ts";
import type { Balancing } from "../balancing/index.ts";
import { torchFault } from "../engine/engine.ts";
import type { Journal, Outcome, Verdict } from "../journal/index.ts";
import type { Launcher } from "../launcher/index.ts";
import { paths } from "../paths.ts";
import {
  type Act,
  type Goal,
  type Input,
  startSupervisor,
  supervise,
  type Supervisor,
} from "../supervise/index.ts";
import { turns } from "../turns.ts";
import type { Watch } from "../watching.ts";
import {
  type AgentMessage,
  known,
  LineDecoder,
  type StepMessage,
  toAgentMessage,
  type WorkerCommand,
  type WorkerMessage,
} from "../wire/index.ts";
import { prune } from "./checkpoints.ts";
import type { Hub, Join } from "./hub.ts";
import { readLastStep, type Series } from "./series.ts";

export type TrainOptions = {
  readonly folder: string;
  readonly run: string;
  readonly goal: Goal;
  /** The worker's file, already written. */
  readonly spec: string;
  readonly zygote: ZygoteCommand;
  readonly journal: Journal;
  readonly launcher: Launcher;
  readonly hub: Hub;
  readonly series: Series;
  readonly watch: Watch;
  /** null: the run has no experts that could stand elsewhere. */
  readonly balancing: Balancing | null;
  readonly silenceSeconds: number;
  readonly onStep?: (step: StepMessage) => void;
  readonly onMessage?: (message: WorkerMessage) => void;
};

export type TrainEnd = { readonly outcome: Outcome; readonly verdict: Verdict | null; readonly step: number };

const TICK_MS = 250;
/** A tick that is so late tells of a controller that did not run: nobody was silent to it in that time. */
const LATE_SECONDS = 1;
const BEAT_SECONDS = 1;
const ORPHAN_SECONDS = 3600;
const SIGKILL = 9;
const QUIT_SECONDS = 3;

const seconds = () => Date.now() / 1000;

/** The shell around the supervisor: turns what happens into inputs, and acts into what is done. */
export class Training {
  readonly ended: Promise<TrainEnd>;
  readonly #options: TrainOptions;
  readonly #queue: Input[] = [];
  readonly #heard = new Map<string, { t: number; instance: number }>();
  /** Seconds of the last cut of each agent that is now away. */
  readonly #away = new Map<string, { since: number; instance: number }>();
  /** Agents from before our time that should join by themselves. */
  readonly #awaited = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;
  #state: Supervisor;
  #tickedAt = seconds();
  #closed = false;
  #busy = false;
  #commands = 0;
  #finish: (end: TrainEnd) => void = () => undefined;
  #fail: (cause: unknown) => void = () => undefined;

  constructor(options: TrainOptions) {
    this.#options = options;
    const reached = readLastStep(paths(options.folder).series)?.step;
    this.#state = startSupervisor(options.goal, options.journal.state, seconds(), reached);
    this.ended = new Promise((resolve, reject) => {
      this.#finish = resolve;
      this.#fail = reject;
    });
    this.#timer = setInterval(() => void turns().then(() => this.#tick()), TICK_MS);
    this.#readSpools();
    options.hub.attach({
      joined: (join) => this.#joined(join),
      message: (agent, instance, message) => this.#onAgent(agent, instance, message),
      left: (agent, instance) => this.#left(agent, instance),
      client: (message) => {
        if (message.do === "checkpoint") this.#command("checkpoint");
        else if (message.do !== "status") this.stop(message.do === "stop_now");
        return { ok: true };
      },
    });
    this.#take({ t: seconds(), kind: "begin" });
  }

  stop(now: boolean): void {
    this.#take({ t: seconds(), kind: "stop", now });
  }

  get state(): Supervisor {
    return this.#state;
  }

  /** Inputs are taken one after another; one that an act brings up waits for the acts before it. */
  #take(input: Input): void {
    this.#queue.push(input);
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
        const { state, acts } = supervise(this.#state, next);
        this.#state = state;
        for (const act of acts) this.#act(act);
      }
    } catch (cause) {
      // The journal cannot be written: nothing may be decided any more, so nothing may run on unguarded either.
      this.#close();
      this.#dismiss();
      this.#fail(cause);
    } finally {
      this.#busy = false;
    }
  }

  #act(act: Act): void {
    const { hub, journal, watch, folder, launcher } = this.#options;
    switch (act.do) {
      case "journal":
        journal.write(act.event);
        break;
      case "report": {
        const finding = watch(act.signal, journal.state);
        if (finding) this.#queue.push({ t: seconds(), kind: "finding", finding });
        this.#options.balancing?.see(act.signal, (command) => this.#send(command));
        break;
      }
      case "startAgent":
        this.#startAgent(act.agent, act.instance);
        break;
      case "dropAgent":
        launcher.kill(folder, act.agent);
        break;
      case "askMaster":
        hub.send(act.agent, { kind: "master", attempt: act.attempt });
        break;
      case "spawn":
        this.#spawn(act);
        break;
      case "kill":
        for (const { agent } of this.#state.nodes) {
          hub.send(agent, { kind: "kill", attempt: act.attempt, signal: SIGKILL });
        }
        break;
      case "stopRanks":
        this.#command("stop");
        break;
      case "prune":
        prune(paths(folder).checkpoints, act.keep);
        break;
      case "finish":
        this.#close();
        this.#dismiss();
        void this.#gone().then(() =>
          this.#finish({
            outcome: act.outcome,
            verdict: act.verdict,
            step: Math.max(this.#state.doneStep, this.#state.checkpointStep),
          }),
        );
        break;
      default:
        act satisfies never;
    }
  }

  /** An agent that still runs from before our time joins by itself; of two, the one that holds the lock stays. */
  #startAgent(agent: string, instance: number): void {
    const { folder, launcher, zygote } = this.#options;
    const first = !this.#heard.has(agent);
    this.#heard.set(agent, { t: seconds(), instance });
    if (first && launcher.alive(folder, agent)) {
      this.#awaited.set(agent, instance);
      return;
    }
    this.#awaited.delete(agent);
    const config: AgentConfig = {
      folder,
      agent,
      instance,
      host: "127.0.0.1",
      zygote,
      beatSeconds: BEAT_SECONDS,
      orphanSeconds: ORPHAN_SECONDS,
    };
    launcher.start(config, (why) => {
      if (why !== null) this.#take({ t: seconds(), kind: "agentLost", agent, instance, why });
      // The other one is at work and will join, or it is dying: then it is seen when it has.
      else if (!this.#closed) this.#awaited.set(agent, instance);
    });
  }

  #spawn({ attempt, host, port }: Extract<Act, { do: "spawn" }>): void {
    const { goal, hub, spec } = this.#options;
    const world = goal.nodes.reduce((sum, node) => sum + node.ranks.length, 0);
    for (const { agent, ranks } of goal.nodes) {
      hub.send(agent, {
        kind: "spawn",
        attempt,
        spec,
        ranks: ranks.map((rank, local) => ({
          rank,
          env: {
            RANK: String(rank),
            WORLD_SIZE: String(world),
            LOCAL_RANK: String(local),
            LOCAL_WORLD_SIZE: String(ranks.length),
            MASTER_ADDR: host,
            MASTER_PORT: String(port),
            TESSERA_ATTEMPT: String(attempt),
            // One node talks to itself: a host name that does not resolve must not stop it.
            ...(goal.nodes.length === 1
              ? { GLOO_SOCKET_IFNAME: process.env["GLOO_SOCKET_IFNAME"] ?? "lo" }
              : {}),
          },
        })),
      });
    }
  }

  #command(what: "stop" | "checkpoint"): void {
    const id = `e${this.#options.journal.state.epoch}c${++this.#commands}`;
    this.#send({ kind: "command", id, do: what });
  }

  #send(command: WorkerCommand): void {
    const first = this.#options.goal.nodes[0];
    if (first) this.#options.hub.send(first.agent, { kind: "command", rank: 0, command });
  }

  #joined({ agent, instance, pid, host, attempt, ranks, zygote }: Join): void {
    this.#heard.set(agent, { t: seconds(), instance });
    this.#away.delete(agent);
    this.#awaited.delete(agent);
    this.#take({ t: seconds(), kind: "joined", agent, instance, pid, host, attempt, ranks, zygote });
  }

  #left(agent: string, instance: number): void {
    // Its process is gone: lost at once. Else the connection broke, and it has some time to come back.
    if (this.#options.launcher.alive(this.#options.folder, agent) === false) {
      this.#away.delete(agent);
      this.#take({ t: seconds(), kind: "agentLost", agent, instance, why: "its process is gone" });
    } else if (!this.#away.has(agent)) this.#away.set(agent, { since: seconds(), instance });
  }

  #onAgent(agent: string, instance: number, message: AgentMessage): void {
    const t = seconds();
    if (this.#heard.get(agent)?.instance === instance) this.#heard.set(agent, { t, instance });
    // The last words of one that was given up may come after that. What its ranks said counts; what it says of itself does not.
    else if (message.kind !== "telemetry" && message.kind !== "exited") return;
    switch (message.kind) {
      case "zygote": {
        const why = torchFault(message.torch);
        this.#take(why === undefined ? { t, kind: "zygote", agent } : { t, kind: "startFailed", agent, why });
        break;
      }
      case "zygote_lost":
        this.#take({ t, kind: "startFailed", agent, why: lastLines(message.text) });
        break;
      case "master":
        this.#take({ t, kind: "master", attempt: message.attempt, host: message.host, port: message.port });
        break;
      case "exited":
        this.#take({
          t,
          kind: "exited",
          attempt: message.attempt,
          rank: message.rank,
          code: message.code,
          signal: message.signal,
        });
        this.#options.hub.send(agent, { kind: "ack", seq: message.seq });
        break;
      case "telemetry":
        this.#telemetry(agent, instance, message.seq, message.message);
        this.#options.hub.send(agent, { kind: "ack", seq: message.seq });
        break;
      case "beat":
        this.#report({ t, kind: "processes", processes: message.processes });
        if (message.disk) this.#report({ t, kind: "disk", ...message.disk });
        break;
      case "join":
      case "spawned":
        break;
      default:
        message satisfies never;
    }
  }

  #report(signal: Extract<Act, { do: "report" }>["signal"]): void {
    const finding = this.#options.watch(signal, this.#options.journal.state);
    if (finding) this.#take({ t: signal.t, kind: "finding", finding });
  }

  #telemetry(agent: string, instance: number, seq: number, raw: WorkerMessage): void {
    if (!this.#options.series.write(agent, instance, seq, raw)) return;
    this.#options.onMessage?.(raw);
    const message = known(raw);
    if (!message) return;
    if (message.kind === "step" && message.rank === 0) this.#options.onStep?.(message);
    this.#take({ t: seconds(), kind: "worker", message });
  }

  /** What agents left on disk when they ended without a controller. */
  #readSpools(): void {
    for (const { agent } of this.#options.goal.nodes) {
      const path = paths(this.#options.folder).agentSpool(agent);
      if (!existsSync(path)) continue;
      for (const value of new LineDecoder().push(readFileSync(path))) {
        const message = toAgentMessage(value);
        const instance = (value as { instance?: number }).instance ?? 0;
        if (message?.kind === "telemetry") this.#telemetry(agent, instance, message.seq, message.message);
      }
      rmSync(path);
    }
  }

  /** Time that this process slept, or the whole machine, counts against no one. */
  #wake(t: number): void {
    const late = t - this.#tickedAt - TICK_MS / 1000;
    this.#tickedAt = t;
    if (late < LATE_SECONDS) return;
    for (const [agent, heard] of this.#heard)
      this.#heard.set(agent, { ...heard, t: Math.min(t, heard.t + late) });
    this.#report({ t, kind: "woke", seconds: late });
  }

  #tick(): void {
    if (this.#closed) return;
    const t = seconds();
    this.#wake(t);
    const { silenceSeconds, folder, launcher } = this.#options;
    // One that was on its way out instead will not join: then a new one is started.
    for (const [agent, instance] of this.#awaited)
      if (!launcher.alive(folder, agent)) this.#startAgent(agent, instance);
    for (const { agent, state, instance } of this.#state.nodes) {
      const silent = t - (this.#heard.get(agent)?.t ?? t);
      const away = this.#away.get(agent);
      if (away) this.#left(agent, away.instance);
      const limit = away ? Math.min(silenceSeconds, 5) : silenceSeconds;
      if (state === "joined" && silent > limit) {
        this.#away.delete(agent);
        this.#take({ t, kind: "agentLost", agent, instance, why: `silent for ${silent.toFixed(1)} s` });
      }
    }
    this.#take({ t, kind: "tick" });
  }

  #close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#options.balancing?.close();
    this.#options.hub.attach(undefined);
  }

  /** Waits until no agent is left, and ends one that does not hear: when we are through, nothing of the run works on. */
  async #gone(): Promise<void> {
    const { folder, goal, launcher } = this.#options;
    const left = () => goal.nodes.filter(({ agent }) => launcher.remains(folder, agent));
    for (const end = seconds() + QUIT_SECONDS; left().length > 0 && seconds() < end; ) await sleep(5);
    for (const { agent } of left()) launcher.clear(folder, agent);
  }

  /** Ends every agent, also those that have not joined. */
  #dismiss(): void {
    const { folder, hub, launcher } = this.#options;
    for (const { agent } of this.#options.goal.nodes) {
      if (hub.has(agent)) hub.send(agent, { kind: "quit" });
      else launcher.clear(folder, agent);
    }
  }
}

const lastLines = (text: string): string => text.trim().split("\n").slice(-3).join(" / ").slice(-500);
