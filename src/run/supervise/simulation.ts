/** A world of agents and ranks in virtual time, for the supervisor's tests: messages wait in queues, anything may be killed at any point. */
import { type Finding, type Goal, type Input, startSupervisor, supervise, type Supervisor } from "./index.ts";
import { EMPTY, type JournalEvent, reduce, type RunState } from "../journal/index.ts";
import type { RankView, StepMessage } from "../wire/index.ts";
import type { Act, Signal } from "./types.ts";

type SimAgent = {
  instance: number;
  attempt: number;
  alive: Set<number>;
  spawned: boolean;
  step: number;
  /** Exits that no controller has taken in. */
  unsaid: Extract<Input, { kind: "exited" }>[];
};

/** A controller's death in the middle of its acts. */
class Killed extends Error {}

export type SimOptions = {
  readonly goal: Goal;
  readonly decide: (signal: Signal, run: RunState) => Finding | null;
};

export class World {
  readonly journal: JournalEvent[] = [];
  readonly agents = new Map<string, SimAgent>();
  readonly spawns: { agent: string; attempt: number }[] = [];
  readonly faults: string[] = [];
  checkpoint = 0;
  t = 0;
  finished: Extract<Act, { do: "finish" }> | null = null;
  #run: RunState = EMPTY;
  #state: Supervisor | null = null;
  #toController: { readonly agent: string; readonly make: () => Input | null }[] = [];
  #toAgents: { readonly agent: string; readonly act: () => void }[] = [];
  /** Acts left until the controller dies; -1: it lives. */
  #fuse = -1;
  readonly #options: SimOptions;

  constructor(options: SimOptions) {
    this.#options = options;
  }

  get run(): RunState {
    return this.#run;
  }
  get up(): boolean {
    return this.#state !== null;
  }

  startController(): void {
    if (this.#state) return;
    this.finished = null;
    // Agents join anew only when the old connection has closed: what it still carried has arrived before, or is lost.
    this.#toAgents = [];
    this.#write({ t: this.t, kind: "controller", epoch: this.#run.epoch + 1, pid: 1, host: "h" });
    this.#state = startSupervisor(this.#options.goal, this.#run, this.t);
    this.#input({ t: this.t, kind: "begin" });
    for (const name of this.agents.keys()) this.#join(name);
  }

  /** The controller dies after `acts` more acts. What it sent may or may not arrive. */
  killController(acts: number): void {
    if (acts === 0) this.#die();
    else this.#fuse = acts;
  }

  /** The connection of an agent breaks and comes back: what was under way both ways is lost, what the agent keeps is told again. */
  cut(name: string): void {
    if (!this.#state || !this.agents.has(name)) return;
    this.#toAgents = this.#toAgents.filter(({ agent }) => agent !== name);
    this.#toController = this.#toController.filter(({ agent }) => agent !== name);
    this.#join(name);
  }

  killAgent(name: string): void {
    const agent = this.agents.get(name);
    if (!agent) return;
    this.agents.delete(name);
    this.#tell(name, () => ({
      t: this.t,
      kind: "agentLost",
      agent: name,
      instance: agent.instance,
      why: "killed",
    }));
  }

  killRank(rank: number): void {
    for (const [name, agent] of this.agents) {
      if (!agent.alive.delete(rank)) continue;
      this.#exit(name, agent, rank, null, 9);
    }
  }

  stop(now: boolean): void {
    if (this.#state) this.#input({ t: this.t, kind: "stop", now });
  }

  /** Delivers one waiting message, of the agents' or the controller's side. */
  deliver(toAgents: boolean): void {
    if (toAgents) this.#toAgents.shift()?.act();
    else if (this.#state) {
      const input = this.#toController.shift()?.make();
      if (input) this.#input(input);
    }
  }

  /** All ranks of the world take a step together, if all are there. */
  train(): void {
    const all = this.#options.goal.nodes;
    const working = all.every(({ agent, ranks }) =>
      ranks.every((rank) => this.agents.get(agent)?.alive.has(rank)),
    );
    const attempts = new Set([...this.agents.values()].map((one) => one.attempt));
    if (!working || attempts.size !== 1) return;
    for (const agent of this.agents.values()) agent.step++;
    const name = all[0]?.agent ?? "";
    const first = this.agents.get(name) as SimAgent;
    const { step, attempt } = first;
    this.#tell(name, () => ({
      t: this.t,
      kind: "worker",
      message: message("step", attempt, step) as StepMessage,
    }));
    if (step % 3 === 0 || step >= this.#options.goal.steps) {
      this.checkpoint = step;
      const fields = { path: `c${step}`, bytes: 1, seconds: 0, stallSeconds: 0 };
      this.#tell(name, () => ({
        t: this.t,
        kind: "worker",
        message: { ...message("saved", attempt, step), ...fields } as never,
      }));
    }
    if (step >= this.#options.goal.steps) this.#leave(attempt, step);
  }

  tick(seconds: number): void {
    this.t += seconds;
    if (this.#state) this.#input({ t: this.t, kind: "tick" });
  }

  #leave(attempt: number, step: number): void {
    const first = this.#options.goal.nodes[0]?.agent ?? "";
    const done = message("done", attempt, step) as never;
    this.#tell(first, () => ({ t: this.t, kind: "worker", message: done }));
    for (const [name, agent] of this.agents) {
      for (const rank of agent.alive) {
        agent.alive.delete(rank);
        this.#exit(name, agent, rank, 0, null);
      }
    }
  }

  #exit(name: string, agent: SimAgent, rank: number, code: number | null, signal: number | null): void {
    const exited: Extract<Input, { kind: "exited" }> = {
      t: this.t,
      kind: "exited",
      attempt: agent.attempt,
      rank,
      code,
      signal,
    };
    agent.unsaid.push(exited);
    this.#tell(name, () => {
      agent.unsaid = agent.unsaid.filter((one) => one !== exited);
      return exited;
    });
  }

  #order(agent: string, act: () => void): void {
    this.#toAgents.push({ agent, act });
  }

  #tell(agent: string, make: () => Input | null): void {
    if (this.#state) this.#toController.push({ agent, make });
  }

  #join(name: string): void {
    const agent = this.agents.get(name) as SimAgent;
    const ranks: RankView[] = agent.spawned
      ? (this.#options.goal.nodes.find((one) => one.agent === name)?.ranks ?? []).map((rank) => {
          const waiting =
            agent.alive.has(rank) ||
            agent.unsaid.some((one) => one.rank === rank && one.attempt === agent.attempt);
          return { rank, pid: 1, state: waiting ? "running" : "exited", code: null, signal: null };
        })
      : [];
    const { instance, attempt } = agent;
    this.#tell(name, () => ({
      t: this.t,
      kind: "joined",
      agent: name,
      instance,
      pid: 1,
      host: "h",
      attempt,
      ranks,
      zygote: true,
    }));
    // A worker's last word waits in the outbox too.
    if (agent.spawned && agent.step >= this.#options.goal.steps) {
      this.#tell(name, () => ({
        t: this.t,
        kind: "worker",
        message: message("done", attempt, agent.step) as never,
      }));
    }
    for (const exited of agent.unsaid) {
      this.#tell(name, () => {
        agent.unsaid = agent.unsaid.filter((one) => one !== exited);
        return exited;
      });
    }
  }

  #die(): void {
    this.#state = null;
    this.#fuse = -1;
    this.#toController = [];
  }

  #input(input: Input): void {
    if (!this.#state) return;
    const queue = [input];
    try {
      for (let next = queue.shift(); next; next = queue.shift()) {
        const { state, acts } = supervise(this.#state as Supervisor, next);
        this.#state = state;
        for (const act of acts) {
          if (this.#fuse === 0) throw new Killed();
          if (this.#fuse > 0) this.#fuse--;
          const finding = this.#act(act);
          if (finding) queue.push({ t: this.t, kind: "finding", finding });
        }
      }
    } catch (cause) {
      if (!(cause instanceof Killed)) throw cause;
      this.#die();
    }
  }

  #write(event: JournalEvent): void {
    this.journal.push(event);
    this.#run = reduce(this.#run, event);
  }

  #act(act: Act): Finding | null {
    switch (act.do) {
      case "journal":
        this.#write({ t: this.t, ...act.event } as JournalEvent);
        return null;
      case "report":
        return this.#options.decide(act.signal, this.#run);
      case "startAgent":
        // The lock of an agent that lives keeps a second one out.
        if (this.agents.has(act.agent)) return null;
        this.agents.set(act.agent, {
          instance: act.instance,
          attempt: 0,
          alive: new Set(),
          spawned: false,
          step: 0,
          unsaid: [],
        });
        this.#join(act.agent);
        return null;
      case "dropAgent":
        if (this.agents.get(act.agent)?.instance === act.instance) this.agents.delete(act.agent);
        return null;
      case "askMaster":
        this.#order(act.agent, () => {
          if (this.agents.has(act.agent))
            this.#tell(act.agent, () => ({
              t: this.t,
              kind: "master",
              attempt: act.attempt,
              host: "h",
              port: 1,
            }));
        });
        return null;
      case "spawn":
        if (this.#run.attempt < act.attempt) this.faults.push(`spawn ${act.attempt} before it was written`);
        for (const { agent } of this.#options.goal.nodes)
          this.#order(agent, () => this.#spawn(agent, act.attempt));
        return null;
      case "kill":
        for (const { agent } of this.#options.goal.nodes)
          this.#order(agent, () => this.#kill(agent, act.attempt));
        return null;
      case "stopRanks":
        this.#order(this.#options.goal.nodes[0]?.agent ?? "", () => {
          const first = this.agents.get(this.#options.goal.nodes[0]?.agent ?? "");
          if (first?.attempt === act.attempt) this.#leave(act.attempt, first.step);
        });
        return null;
      case "prune":
        return null;
      case "finish":
        this.finished = act;
        this.agents.clear();
        this.#toAgents = [];
        this.#die();
        return null;
      default:
        return act satisfies never;
    }
  }

  #spawn(name: string, attempt: number): void {
    const agent = this.agents.get(name);
    if (!agent || attempt <= agent.attempt) return;
    for (const other of this.agents.values()) {
      if (other.alive.size > 0 && other.attempt !== attempt)
        this.faults.push(`attempts ${other.attempt} and ${attempt} alive at once`);
    }
    this.spawns.push({ agent: name, attempt });
    agent.attempt = attempt;
    agent.spawned = true;
    agent.step = this.checkpoint;
    agent.alive = new Set(this.#options.goal.nodes.find((one) => one.agent === name)?.ranks);
    agent.unsaid = [];
  }

  #kill(name: string, attempt: number): void {
    const agent = this.agents.get(name);
    if (!agent || agent.attempt !== attempt) return;
    for (const rank of agent.alive) {
      agent.alive.delete(rank);
      this.#exit(name, agent, rank, null, 9);
    }
  }
}

const message = (kind: string, attempt: number, step: number) => ({
  v: 1,
  kind,
  run: "r",
  rank: 0,
  step,
  t: 0,
  attempt,
  loss: 1,
  gradNorm: 1,
  learningRate: 1,
  tokens: 1,
  seconds: 1,
  cursor: step,
});
