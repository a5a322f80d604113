import type { Outcome, Verdict } from "../journal/index.ts";
import { FRESH, type NodeState, type Supervisor, ranksOf } from "./state.ts";
import type { Act, Finding, Input } from "./types.ts";

/** Step of the supervisor: the next state and what to do, in order. Pure: no clock, no I/O. */
export type Move = { readonly state: Supervisor; readonly acts: readonly Act[] };

/** Last words of a rank that lost a peer, and how long word of that peer's own end may take. */
const PEER_LOST = "ENGINE_PEER_LOST";
const BLAMED_SECONDS = 3;

/** Takes one input. Inputs about an older attempt, an older agent or after the end have no effect. */
export function supervise(state: Supervisor, input: Input): Move {
  if (state.mode === "ended") return { state, acts: [] };
  const draft = new Draft(state, input.t);
  switch (input.kind) {
    case "begin":
      draft.startMissing();
      break;
    case "joined":
      draft.joined(input);
      break;
    case "zygote":
      draft.node(input.agent, { zygote: true });
      draft.gathered();
      break;
    case "startFailed":
      draft.act({
        do: "report",
        signal: { t: input.t, kind: "startFailed", agent: input.agent, why: input.why },
      });
      break;
    case "agentLost":
      draft.agentLost(input.agent, input.instance, input.why);
      break;
    case "master":
      draft.master(input.attempt, input.host, input.port);
      break;
    case "exited":
      draft.exited(input);
      break;
    case "worker":
      draft.worker(input.message);
      break;
    case "finding":
      draft.finding(input.finding);
      break;
    case "stop":
      draft.stop(input.now);
      break;
    case "tick":
      draft.tick();
      break;
    default:
      input satisfies never;
  }
  return { state: draft.state, acts: draft.acts };
}

/** One move being made: the state so far and the acts so far. Lives only inside `supervise`. */
class Draft {
  state: Supervisor;
  readonly acts: Act[] = [];
  readonly #t: number;

  constructor(state: Supervisor, t: number) {
    this.state = state;
    this.#t = t;
  }

  act(...acts: Act[]): void {
    this.acts.push(...acts);
  }

  set(change: Partial<Supervisor>): void {
    const since = change.mode !== undefined && change.mode !== this.state.mode ? { since: this.#t } : {};
    this.state = { ...this.state, ...since, ...change };
  }

  node(agent: string, change: Partial<NodeState>): void {
    const since = change.state !== undefined ? { since: this.#t } : {};
    this.set({
      nodes: this.state.nodes.map((one) => (one.agent === agent ? { ...one, ...since, ...change } : one)),
    });
  }

  find = (agent: string): NodeState | undefined => this.state.nodes.find((one) => one.agent === agent);

  startMissing(): void {
    for (const { agent, started, state } of this.state.nodes) {
      if (state !== "absent") continue;
      const next = started + 1;
      this.node(agent, { state: "starting", instance: next, started: next, zygote: false, view: null });
      this.act(
        { do: "journal", event: { kind: "agentStart", agent, instance: next } },
        { do: "startAgent", agent, instance: next },
      );
    }
  }

  /** The instance may be older than the one last started: of two, the one that holds the agent's lock lives. */
  joined(input: Extract<Input, { kind: "joined" }>): void {
    const { agent, instance, pid, host, zygote } = input;
    if (!this.find(agent)) return;
    this.act({ do: "journal", event: { kind: "agentJoined", agent, instance, pid, host } });
    const running = input.ranks.filter((one) => one.state !== "exited").map((one) => one.rank);
    this.node(agent, { state: "joined", instance, zygote, view: { attempt: input.attempt, ranks: running } });
    this.repeat();
    this.gathered();
  }

  /** A connection that broke may have lost the last order or its answer. Agents do nothing twice, so it is given again. */
  repeat(): void {
    const { mode, attempt, master } = this.state;
    if (mode === "master") this.askMaster();
    if (mode === "running" && master) this.act({ do: "spawn", attempt, ...master });
    if (mode === "stopping") this.act({ do: "stopRanks", attempt });
    if (mode === "teardown" && this.state.alive.size > 0) this.act({ do: "kill", attempt });
  }

  askMaster(): void {
    const { agent } = this.state.nodes[0] as NodeState;
    this.act({ do: "askMaster", agent, attempt: this.state.attempt });
  }

  /** Goes on once every agent is there: takes over ranks that work, or clears away what is left and starts anew. */
  gathered(): void {
    const { mode, nodes, attempt } = this.state;
    if (mode !== "gather" || nodes.some((one) => one.state !== "joined")) return;
    const live = nodes.filter((one) => one.view !== null && one.view.ranks.length > 0);
    if (live.length > 0) {
      const whole = nodes.every(
        (one) => one.view?.attempt === attempt && one.ranks.every((rank) => one.view?.ranks.includes(rank)),
      );
      const alive = new Set(live.flatMap((one) => one.view?.ranks ?? []));
      this.forgetViews();
      if (whole && attempt > 0 && this.state.after.next === "restart") {
        this.act(
          { do: "journal", event: { kind: "adopted", attempt } },
          { do: "report", signal: { t: this.#t, kind: "attempt", attempt, world: alive.size } },
        );
        this.set({ ...FRESH, mode: "running", master: null, alive });
        return;
      }
      this.set({ mode: "teardown", alive });
      this.act({ do: "kill", attempt });
      return;
    }
    if (nodes.some((one) => !one.zygote)) return;
    this.forgetViews();
    this.newAttempt();
  }

  forgetViews(): void {
    this.set({ nodes: this.state.nodes.map((one) => ({ ...one, view: null })) });
  }

  newAttempt(): void {
    const attempt = this.state.attempt + 1;
    const { goal, checkpointStep } = this.state;
    this.set({ ...FRESH, mode: "master", attempt, master: null, alive: new Set() });
    this.act({
      do: "journal",
      event: { kind: "attempt", attempt, world: ranksOf(goal), fromStep: checkpointStep },
    });
    this.askMaster();
  }

  master(attempt: number, host: string, port: number): void {
    if (this.state.mode !== "master" || attempt !== this.state.attempt) return;
    const ranks = this.state.nodes.flatMap((one) => one.ranks);
    this.set({ mode: "running", master: { host, port }, alive: new Set(ranks) });
    this.act(
      { do: "report", signal: { t: this.#t, kind: "attempt", attempt, world: ranks.length } },
      { do: "spawn", attempt, host, port },
    );
  }

  /**
   * One rank's end brings its peers' about, and word of theirs may come first: whoever blames a peer is not the cause while that peer may
   * still be told of.
   */
  exited(exit: Extract<Input, { kind: "exited" }>): void {
    const { attempt, rank, code } = exit;
    if (attempt !== this.state.attempt || !this.state.alive.has(rank)) return;
    const { mode, faulted, blaming, held } = this.state;
    this.set({ alive: new Set([...this.state.alive].filter((one) => one !== rank)) });
    if (code !== 0 && !faulted && (mode === "running" || mode === "stopping")) {
      if (mode === "running" && blaming.has(rank)) this.set({ held: held ?? exit });
      else this.fault(exit);
    }
    if (mode === "running" && this.state.held && this.state.alive.size === 0) this.fault(this.state.held);
    this.emptied();
  }

  /** This end is the one that the others follow from. */
  fault({ attempt, rank, code, signal }: Extract<Input, { kind: "exited" }>): void {
    this.act({ do: "journal", event: { kind: "rankExited", attempt, rank, code, signal } });
    this.set({ faulted: true, held: null });
    if (this.state.mode === "stopping") this.teardown();
    else this.act({ do: "report", signal: { t: this.#t, kind: "rankExit", attempt, rank, code, signal } });
  }

  /** When the last rank is gone: the end, or the next attempt. */
  emptied(): void {
    const { mode, alive, faulted, doneStep, goal, after } = this.state;
    if (alive.size > 0) return;
    if (mode === "teardown" || mode === "stopping") {
      if (after.next === "finish") this.finish(after.outcome, after.verdict);
      else this.regather();
    } else if (mode === "running" && !faulted) {
      if (doneStep >= goal.steps) {
        this.act({ do: "journal", event: { kind: "trained", step: doneStep } });
        this.finish("done", null);
      } else {
        // Ranks that end well before the last step were told to by someone else (SIGTERM from a scheduler, say).
        this.finish("stopped", null);
      }
    }
  }

  regather(): void {
    this.set({ mode: "gather", after: { next: "restart" }, faulted: false });
    this.startMissing();
    this.gathered();
  }

  finish(outcome: Outcome, verdict: Verdict | null): void {
    this.set({ mode: "ended" });
    this.act({ do: "report", signal: { t: this.#t, kind: "idle" } }, { do: "finish", outcome, verdict });
  }

  teardown(): void {
    this.set({ mode: "teardown" });
    this.act({ do: "report", signal: { t: this.#t, kind: "idle" } });
    if (this.state.alive.size > 0) this.act({ do: "kill", attempt: this.state.attempt });
  }

  /** The kernel ends an agent's ranks with it, so they count as gone. */
  agentLost(agent: string, instance: number, why: string): void {
    const node = this.find(agent);
    if (!node || node.state === "absent" || instance !== node.instance) return;
    this.act(
      { do: "journal", event: { kind: "agentLost", agent, instance, why } },
      { do: "dropAgent", agent, instance },
    );
    this.node(agent, { state: "absent", zygote: false, view: null });
    this.set({ alive: new Set([...this.state.alive].filter((rank) => !node.ranks.includes(rank))) });
    const { mode, faulted } = this.state;
    if (mode === "stopping") {
      this.teardown();
      this.emptied();
    } else if (mode === "teardown") {
      this.emptied();
    } else if (!faulted) {
      this.set({ faulted: true, held: null });
      this.act({ do: "report", signal: { t: this.#t, kind: "agentLost", agent, why } });
    }
  }

  worker(message: Extract<Input, { kind: "worker" }>["message"]): void {
    if (message.attempt !== this.state.attempt) return;
    this.act({ do: "report", signal: { t: this.#t, kind: "worker", message } });
    if (message.kind === "fatal" && message.code === PEER_LOST) {
      this.set({ blaming: new Set([...this.state.blaming, message.rank]) });
    }
    if (message.kind === "done") this.set({ doneStep: Math.max(this.state.doneStep, message.step) });
    if (message.kind === "saved") {
      const { step, attempt, path, bytes, seconds, stallSeconds } = message;
      if (step <= this.state.checkpointStep) return;
      this.set({ checkpointStep: step });
      this.act({
        do: "journal",
        event: { kind: "checkpoint", attempt, step, path, bytes, seconds, stallSeconds },
      });
    }
    if (message.kind !== "step") return;
    const { open, attemptStep, maxStep, mode } = this.state;
    if (open && attemptStep === 0 && mode === "running") {
      this.act({
        do: "journal",
        event: {
          kind: "recovered",
          id: open.id,
          attempt: message.attempt,
          step: message.step,
          seconds: Math.max(0, message.t - open.t),
          redone: Math.max(0, maxStep - message.step + 1),
        },
      });
      this.set({ open: null });
    }
    this.set({ attemptStep: Math.max(attemptStep, message.step), maxStep: Math.max(maxStep, message.step) });
  }

  finding({ alarm, remedy }: Finding): void {
    const { mode } = this.state;
    // Ranks that are already being taken down need no second remedy, but a decided end is never taken back.
    if ((mode === "teardown" || mode === "stopping") && remedy.do === "restart") return;
    if (mode === "stopping" && remedy.do === "stop") return;
    const id = this.state.incidents + 1;
    this.set({ incidents: id });
    this.act(
      { do: "journal", event: { kind: "alarm", id, attempt: this.state.attempt, alarm } },
      { do: "journal", event: { kind: "remedy", id, remedy } },
    );
    switch (remedy.do) {
      case "restart":
        this.set({ open: { id, t: this.#t }, after: { next: "restart" } });
        this.teardown();
        this.emptied();
        break;
      case "prune":
        this.act({ do: "prune", keep: remedy.keep });
        break;
      case "stop":
        this.end({ code: alarm.code, params: alarm.evidence }, false);
        break;
      case "fail":
        this.end({ code: remedy.verdict, params: alarm.evidence }, true);
        break;
      default:
        remedy satisfies never;
    }
  }

  end(verdict: Verdict, now: boolean): void {
    this.set({ after: { next: "finish", outcome: "failed", verdict } });
    this.wind(now);
  }

  stop(now: boolean): void {
    if (this.state.mode !== "stopping" || now) {
      this.act({ do: "journal", event: { kind: "stopAsked", by: "person", now } });
    }
    if (this.state.after.next === "restart") {
      this.set({ after: { next: "finish", outcome: "stopped", verdict: null } });
    }
    this.wind(now);
  }

  /** Ends the attempt: by the ranks' own hand when there is something to save, else at once. */
  wind(now: boolean): void {
    const { mode, attemptStep, attempt, faulted, held } = this.state;
    if (mode === "running" && attemptStep > 0 && !faulted && !held && !now) {
      this.set({ mode: "stopping" });
      this.act({ do: "stopRanks", attempt });
    } else if (mode === "stopping" && !now) {
      return;
    } else if (mode !== "teardown") {
      this.teardown();
    }
    this.emptied();
  }

  tick(): void {
    const { mode, since, goal, nodes, held } = this.state;
    if (mode === "running" && held && this.#t - held.t > BLAMED_SECONDS) this.fault(held);
    this.act({ do: "report", signal: { t: this.#t, kind: "tick" } });
    if (mode === "stopping" && this.#t - since > goal.stopSeconds) this.teardown();
    if (mode === "teardown" && this.#t - since > goal.killSeconds) {
      // SIGKILL that brings no exit: the agent does not do its work.
      for (const node of nodes) {
        if (node.ranks.some((rank) => this.state.alive.has(rank))) {
          this.agentLost(node.agent, node.instance, "does not end its ranks");
        }
      }
    }
    if (mode === "gather" || mode === "master") {
      for (const node of nodes) {
        const late = node.state === "starting" || !node.zygote || mode === "master";
        if (late && this.#t - Math.max(node.since, since) > goal.joinSeconds) {
          this.agentLost(node.agent, node.instance, "does not get ready");
        }
      }
    }
  }
}
