/** A training in virtual time for the tests of live balancing: ranks with experts, a wire that may lose commands, a controller that may die. */
import { Random } from "../../../base/index.ts";
import { EMPTY, type JournalEvent, type NewEvent, reduce, type RunState } from "../../journal/index.ts";
import { encodeArray, type KnownMessage, type WorkerCommand } from "../../wire/index.ts";
import { type Decider, IN_PLACE } from "../decider.ts";
import { Balancing } from "../live.ts";
import type { BalancePolicy, ExpertTopology } from "../types.ts";

export const TOPOLOGY: ExpertTopology = {
  world: 2,
  pp: 1,
  ep: 2,
  groups: 1,
  nodes: 1,
  routerGroups: 1,
  microBatches: 1,
  bytesPerExpert: 1000,
  rowBytes: 100,
  savedBytesPerRow: 1000,
  inFlight: 1,
  recompute: false,
  microBatch: 2,
};
export const POLICY: BalancePolicy = {
  mode: "on",
  every: 4,
  window: 12,
  safety: 2,
  linksEvery: 0,
  overlap: false,
  foresight: false,
  scanRows: 0,
  memoryBytes: null,
  memoryQuantile: 0.999,
};
const LAYERS = [1, 2];
const EXPERTS = 8;
const STEPS = 400;
/** Seconds that a row takes, beside what every step takes. */
const ROW_SECONDS = 0.001;
const BASE_SECONDS = 0.5;

type Placement = Record<string, number[]>;
const start = (): Placement =>
  Object.fromEntries(LAYERS.map((layer) => [String(layer), Array.from({ length: EXPERTS }, (_, e) => e)]));

class Killed extends Error {}

/** Answers when `answer` is called, as a thread would: some time later. */
export class Late implements Decider {
  #asked: (() => void)[] = [];
  ask: Decider["ask"] = (question, answered) => {
    // What crosses to a thread and back is a copy.
    this.#asked.push(() =>
      IN_PLACE.ask(structuredClone(question), (found) => answered(structuredClone(found))),
    );
  };
  answer(): void {
    for (const one of this.#asked.splice(0)) one();
  }
  close(): void {
    this.#asked = [];
  }
}

export class World {
  readonly journal: JournalEvent[] = [];
  /** Moves that were told; rehearsals that were obeyed. */
  readonly sent: string[] = [];
  rehearsals = 0;
  /** How many times as long as usual each rank needs for all it computes, and seconds of noise of a step (uniform, up to). */
  moveSeconds = 0.2;
  /** Most bytes that a rank has used: what it needs anyway, and for each row that it keeps. */
  peak = 0;
  rowBytes = 0;
  slow: readonly number[] = [1, 1];
  noise = 0;
  /** What the ranks obeyed, by command; and where experts stood at every step. */
  readonly obeyed: { id: string; attempt: number }[] = [];
  readonly notes: Record<string, unknown>[] = [];
  readonly faults: string[] = [];
  attempt = 1;
  step = 0;
  placement = start();
  /** Popularity of experts: [layer][expert]; counts are drawn from it. */
  shares: readonly (readonly number[])[];
  #checkpoint = { step: 0, placement: start() };
  #commands: WorkerCommand[] = [];
  #wire: KnownMessage[] = [];
  #series: KnownMessage[] = [];
  #run: RunState = { ...EMPTY, attempt: 1 };
  #balancing: Balancing | null = null;
  #fuse = -1;
  /** Seconds that the steps have taken. */
  #clock = 0;
  readonly #random: Random;
  readonly #policy: BalancePolicy;
  readonly #fixedBytes: number;
  readonly #decider: Decider;

  constructor(
    shares: readonly (readonly number[])[],
    seed = 1,
    policy = POLICY,
    peak = 0,
    decider: Decider = IN_PLACE,
  ) {
    this.#decider = decider;
    this.shares = shares;
    this.#random = new Random(seed);
    this.#policy = policy;
    this.peak = peak;
    this.#fixedBytes = peak;
    this.#tellPlaces();
  }

  get up(): boolean {
    return this.#balancing !== null;
  }
  get run(): RunState {
    return this.#run;
  }

  startController(): void {
    if (this.#balancing) return;
    this.#guarded(() => {
      this.#balancing = new Balancing({
        policy: this.#policy,
        topology: TOPOLOGY,
        steps: STEPS,
        decider: this.#decider,
        journal: { state: this.#run, write: (event) => this.#write(event) },
        told: this.#series.filter((one) => ["placement", "moved", "ack"].includes(one.kind)),
        note: (step, attempt, fields) => this.notes.push({ step, attempt, ...fields }),
      });
      this.#see({ t: this.#clock, kind: "attempt", attempt: this.attempt, world: 2 });
    });
  }

  /** The controller dies after so many more writes and commands. */
  killController(after: number): void {
    if (after === 0) this.#balancing = null;
    else this.#fuse = after;
  }

  /** A rank dies: all go back to the checkpoint. */
  restart(): void {
    this.attempt++;
    this.step = this.#checkpoint.step;
    this.placement = structuredClone(this.#checkpoint.placement);
    this.#commands = [];
    // Words of the old attempt that still travel come before those of the new one.
    this.#tellPlaces();
    this.#run = { ...this.#run, attempt: this.attempt };
    this.#guarded(() => {
      this.#see({ t: this.#clock, kind: "idle" });
      this.#see({ t: this.#clock, kind: "attempt", attempt: this.attempt, world: 2 });
    });
  }

  save(): void {
    this.#checkpoint = { step: this.step, placement: structuredClone(this.placement) };
  }

  loseCommands(): void {
    this.#commands = [];
  }

  /** A boundary, where commands are obeyed, and a step. */
  train(): void {
    for (const command of this.#commands.splice(0)) this.#obey(command);
    this.step++;
    const counts = this.shares.map((row) =>
      row.map((share) => Math.round(share * (0.97 + 0.06 * this.#random.next()))),
    );
    const rows = [0, 1].map((rank) =>
      LAYERS.reduce((sum, layer, l) => {
        const slots = (this.placement[String(layer)] as number[]).slice(rank * 4, rank * 4 + 4);
        return sum + slots.reduce((part, e) => part + (counts[l]?.[e] ?? 0), 0);
      }, 0),
    );
    const busyOf = (own: number, rank: number) =>
      (BASE_SECONDS + own * ROW_SECONDS) * (this.slow[rank] as number);
    const seconds = Math.max(...rows.map(busyOf)) + this.noise * this.#random.next();
    this.#clock += seconds;
    this.peak = Math.max(this.peak, this.#fixedBytes + Math.max(...rows) * this.rowBytes);
    for (const [rank, own] of rows.entries()) {
      const busy = busyOf(own, rank);
      const spans = {
        forwardBackward: seconds,
        allToAll: seconds - busy + 0.01,
        experts: own * ROW_SECONDS * (this.slow[rank] as number),
      };
      this.#say("step", rank, {
        loss: 1,
        gradNorm: 1,
        learningRate: 1,
        tokens: 1,
        seconds,
        cursor: this.step,
        spans,
        memory: { peak: this.peak },
      });
    }
    this.#say("load", 0, { layers: LAYERS, counts: encodeArray("int32", [2, EXPERTS], counts.flat()) });
  }

  /** Brings the next message to the controller, if there is one that hears. */
  deliver(): void {
    const message = this.#wire[0];
    if (!message || !this.#balancing) return;
    this.#wire.shift();
    this.#series.push(message);
    if (message.attempt !== this.attempt) return;
    this.#guarded(() => this.#see({ t: this.#clock, kind: "worker", message }));
  }

  /** What a controller hears when nothing else happens. */
  tick(): void {
    this.#guarded(() => this.#see({ t: this.#clock, kind: "tick" }));
  }

  settle(steps: number, between = (): void => undefined): void {
    this.#fuse = -1;
    this.startController();
    for (let i = 0; i < steps; i++) {
      this.train();
      while (this.#wire.length > 0) this.deliver();
      between();
    }
  }

  #see(signal: Parameters<Balancing["see"]>[0]): void {
    this.#balancing?.see(signal, (command) => {
      this.#burn();
      if (command.do === "rehearse") {
        this.#commands.push(command);
        return;
      }
      if (!this.journal.some((event) => event.kind === "balance" && `balance-${event.id}` === command.id)) {
        this.faults.push(`${command.id} was told before it was written`);
      }
      this.sent.push(command.id);
      this.#commands.push(command);
    });
  }

  #obey(command: WorkerCommand): void {
    if (command.do === "rehearse") {
      this.rehearsals++;
      // As moves take here: half as long for the bytes as for the rest.
      const samples = [1000, 1000, 2000, 2000].map((bytes) => [1, bytes, 0.05 + bytes * 2.5e-5]);
      this.#say("rehearsed", 0, { samples: [...samples, [2, 2000, 0.15], [2, 2000, 0.15]] });
      return;
    }
    const wanted = command["placement"] as Placement;
    for (const [layer, slots] of Object.entries(wanted)) {
      if ([...slots].sort((a, b) => a - b).some((e, i) => e !== i))
        this.faults.push(`${command.id}: ${slots.join()}`);
      this.placement[layer] = [...slots];
    }
    this.obeyed.push({ id: command.id, attempt: this.attempt });
    const moved = { bytes: 4000, slots: 4, layers: LAYERS, seconds: this.moveSeconds };
    for (const rank of [0, 1]) this.#say("moved", rank, moved);
    this.#tellPlaces();
    this.#say("ack", 0, { id: command.id, do: "relocate", ok: true });
  }

  #tellPlaces(): void {
    this.#say("placement", 0, { layers: structuredClone(this.placement) });
  }

  #say(kind: string, rank: number, fields: object): void {
    const head = { v: 1, kind, run: "r", rank, step: this.step, t: this.#clock, attempt: this.attempt };
    this.#wire.push({ ...head, ...fields } as KnownMessage);
  }

  #write(event: NewEvent): RunState {
    this.#burn();
    const stamped = { t: this.#clock, ...event } as JournalEvent;
    this.journal.push(stamped);
    this.#run = reduce(this.#run, stamped);
    return this.#run;
  }

  #burn(): void {
    if (this.#fuse > 0 && --this.#fuse === 0) throw new Killed();
  }

  #guarded(act: () => void): void {
    try {
      act();
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      this.#balancing = null;
      this.#fuse = -1;
    }
  }
}
