import type { AgentMessage } from "../wire/index.ts";

type Kept = Extract<AgentMessage, { seq: number }>;

/** Telemetry of these kinds decides something and is never dropped. */
const VITAL: ReadonlySet<string> = new Set([
  "hello",
  "saved",
  "fatal",
  "done",
  "ack",
  "parity",
  "nograd",
  "moved",
  "phase",
]);

/**
 * Messages that the controller has not acknowledged, in order. While there is no controller they wait here; past the bound the oldest
 * plain telemetry is dropped and counted, exits and vital messages never.
 */
export class Outbox {
  #kept: Kept[] = [];
  #next: number;
  readonly #bound: number;
  dropped = 0;

  constructor(first: number, bound = 200_000) {
    this.#next = first;
    this.#bound = bound;
  }

  /** Keeps a message under the next number and returns it as it goes out. */
  add(message: Kept extends infer K ? (K extends Kept ? Omit<K, "seq"> : never) : never): Kept {
    const kept = { ...message, seq: this.#next++ } as Kept;
    this.#kept.push(kept);
    if (this.#kept.length > this.#bound) this.#shrink();
    return kept;
  }

  /** Everything up to `seq` arrived. */
  acknowledge(seq: number): void {
    let count = 0;
    while (count < this.#kept.length && (this.#kept[count] as Kept).seq <= seq) count++;
    if (count > 0) this.#kept = this.#kept.slice(count);
  }

  get waiting(): readonly Kept[] {
    return this.#kept;
  }

  /** Drops an eighth of the bound at once, so that a full box costs no search at every message. */
  #shrink(): void {
    let over = Math.ceil(this.#bound / 8);
    const before = this.#kept.length;
    this.#kept = this.#kept.filter((one) => {
      const plain = one.kind === "telemetry" && !VITAL.has(one.message.kind);
      if (!plain || over === 0) return true;
      over--;
      return false;
    });
    this.dropped += before - this.#kept.length;
  }
}
