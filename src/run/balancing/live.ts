import { LoadMonitor } from "../../experts/index.ts";
import type { Journal } from "../journal/index.ts";
import type { Signal } from "../supervise/index.ts";
import type { BalanceMessage, KnownMessage, WorkerCommand } from "../wire/index.ts";
import type { Decider, Lost } from "./decider.ts";
import { Gather } from "./gather.ts";
import type { Answer } from "./question.ts";
import { startSteer, type Steer, steer } from "./steer.ts";
import type { BalancePolicy, ExpertTopology, SteerInput, WholeStep } from "./types.ts";

export type BalancingOptions = {
  readonly policy: BalancePolicy;
  readonly topology: ExpertTopology;
  readonly steps: number;
  readonly decider: Decider;
  readonly journal: Pick<Journal, "state" | "write">;
  /** Ranks' words on places and moves from before this controller's time (`placement`, `moved`, `ack`). */
  readonly told: readonly KnownMessage[];
  /** Keeps a digest beside the telemetry. */
  readonly note: (step: number, attempt: number, fields: Readonly<Record<string, unknown>>) => void;
};

/** The shell around `steer`: hears what the watch hears, writes the journal, gives commands. */
export class Balancing {
  readonly #options: BalancingOptions;
  #gather: Gather;
  #monitor: LoadMonitor | undefined;
  #placement: WholeStep["placement"] | undefined;
  #links: WholeStep["links"] = null;
  #state: Steer;
  /** What has been answered and not taken up: whoever calls `see` is the one who can bear it when the journal cannot be written. */
  readonly #answers: (Answer | Lost)[] = [];

  constructor(options: BalancingOptions) {
    this.#options = options;
    const { policy, topology, steps, journal, told } = options;
    this.#gather = new Gather(topology);
    this.#state = startSteer(policy, topology, steps, journal.state);
    // A move that an earlier controller told may have been answered to it, and it died before it wrote so.
    for (const message of told) this.#message(message, 0, () => undefined);
  }

  /** A signal, in the order in which the supervisor passes them on. Throws only when the journal cannot be written. */
  see(signal: Signal, send: (command: WorkerCommand) => void): void {
    this.#takeAnswers(signal.t, send);
    this.#signal(signal, send);
    this.#takeAnswers(signal.t, send);
  }

  /** Decides nothing any more. */
  close(): void {
    this.#options.decider.close();
  }

  #signal(signal: Signal, send: (command: WorkerCommand) => void): void {
    switch (signal.kind) {
      case "attempt":
        if (signal.attempt !== this.#state.attempt) this.#forget();
        this.#take({ kind: "attempt", attempt: signal.attempt }, send);
        break;
      case "idle":
        this.#forget();
        this.#take({ kind: "idle" }, send);
        break;
      case "worker":
        this.#message(signal.message, signal.t, send);
        break;
      default:
        break;
    }
  }

  #takeAnswers(t: number, send: (command: WorkerCommand) => void): void {
    for (let next = this.#answers.shift(); next; next = this.#answers.shift())
      this.#take(
        "lost" in next ? { kind: "lost", why: next.lost } : { kind: "answer", answer: next, t },
        send,
      );
  }

  #forget(): void {
    this.#gather = new Gather(this.#options.topology);
    this.#monitor = undefined;
    this.#placement = undefined;
  }

  #message(message: KnownMessage, now: number, send: (command: WorkerCommand) => void): void {
    if (message.attempt !== this.#state.attempt) return;
    if (message.kind === "ack") {
      const { id, step, ok, detail } = message;
      const why = ok ? null : String((detail as { code?: unknown } | null)?.code ?? "refused");
      this.#take({ kind: "ack", id, step, ok, why }, send);
    } else if (message.kind === "moved") {
      const { rank, step, bytes, seconds } = message;
      this.#take({ kind: "moved", rank, step, bytes, seconds }, send);
    } else if (message.kind === "rehearsed") {
      const samples = message.samples.map(([layers = 0, bytes = 0, seconds = 0]) => ({
        layers,
        bytes,
        seconds,
      }));
      this.#take({ kind: "rehearsed", samples }, send);
    } else {
      const step = this.#gather.add(message, now);
      if (!step) return;
      this.#take({ kind: "step", step }, send);
      this.#digest(step);
    }
  }

  #take(input: SteerInput, send: (command: WorkerCommand) => void): void {
    const { state, acts } = steer(this.#state, input);
    this.#state = state;
    for (const act of acts) {
      if (act.do === "journal") this.#options.journal.write(act.event);
      else if (act.do === "command") send(act.command);
      else this.#options.decider.ask(act.question, (answer) => this.#answers.push(answer));
    }
  }

  #digest(step: WholeStep): void {
    const { placement, loads } = step;
    this.#links = step.links ?? this.#links;
    const planned = placement.ids.map((id) => this.#state.planned[id] ?? Number.NaN);
    if (!this.#monitor) this.#monitor = new LoadMonitor(placement);
    if (placement !== this.#placement) this.#monitor.moved(placement, planned);
    this.#placement = placement;
    this.#monitor.add(loads.ids, loads.values);
    const { layers } = this.#monitor.close(step.step);
    const column = (of: (layer: (typeof layers)[number]) => number) => layers.map((one) => round(of(one)));
    this.#options.note(step.step, this.#state.attempt, {
      layers: layers.map((one) => one.layer),
      realised: column((one) => one.realised),
      bound: column((one) => one.bound),
      planned: layers.map((one) => (Number.isFinite(one.planned) ? round(one.planned as number) : null)),
      noiseFloor: column((one) => one.noiseFloor),
      maxVio: column((one) => one.maxVio),
      cv: column((one) => one.cv),
      entropy: column((one) => one.entropy),
      deadExperts: column((one) => one.deadExperts),
      droppedRows: Number.isFinite(step.dropped) ? step.dropped : null,
      allToAllSeconds: spread(step.exchange),
      sentRows: Number.isFinite(step.sent[0] + step.sent[1] + step.sent[2])
        ? { rank: step.sent[0], node: step.sent[1], network: step.sent[2] }
        : null,
      links: this.#links,
      line: this.#state.line,
    });
  }
}

function spread(seconds: Float64Array): BalanceMessage["allToAllSeconds"] {
  const told = [...seconds].filter(Number.isFinite).sort((a, b) => a - b);
  const at = (share: number) => round(told[Math.floor(share * (told.length - 1))] as number);
  const rank = seconds.indexOf(told.at(-1) as number);
  return told.length === 0 ? null : { least: at(0), median: at(0.5), most: at(1), rank };
}

/** Five digits: what is kept of every step should not cost much. */
const round = (value: number): number => Number(value.toPrecision(5));
