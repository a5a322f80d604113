import { type Order, PASS, passKind, passMicro, passStage } from "./orders.ts";
import { gradientReady, pairSeconds, type Simulation, type StageCosts } from "./simulate.ts";

/** Processor cores that all ranks share: every pipeline rank stands for so many processes that run its passes side by side. */
export type SharedCores = { readonly cores: number; readonly processes: number };

/**
 * Runs an order where more processes than cores compute: at any moment those inside a pass share the cores fairly, and those that wait
 * for an input leave them to the rest. Costs are seconds on a core of its own. Twin of `simulate`, event by event instead of by
 * longest path, because the length of a pass now depends on what else runs.
 *
 * @throws Error when the order waits for itself
 */
export function simulateShared(order: Order, costs: StageCosts, share: SharedCores): Simulation {
  const { pp, stages, micros, starts } = order;
  const sent = new Float64Array(stages * micros).fill(-1);
  const back = new Float64Array(stages * micros).fill(-1);
  const ranks = Array.from(
    { length: pp },
    (_, rank) => new Rank(order, costs, starts[rank] as number, starts[rank + 1] as number),
  );
  let now = 0;
  for (;;) {
    let soonest = Number.POSITIVE_INFINITY;
    let active = 0;
    for (const rank of ranks) {
      rank.begin(now, sent, back);
      if (rank.left > 0) active++;
      else soonest = Math.min(soonest, rank.wake);
    }
    const pace = Math.min(1, share.cores / (active * share.processes));
    for (const rank of ranks) if (rank.left > 0) soonest = Math.min(soonest, now + rank.left / pace);
    if (soonest === Number.POSITIVE_INFINITY) break;
    const passed = soonest - now;
    now = soonest;
    for (const rank of ranks) rank.run(passed, pace, now, sent, back);
  }
  if (ranks.some((rank) => !rank.done))
    throw new Error(`the ${order.schedule} order waits for itself (pp ${pp}, ${micros} micro-batches)`);
  const seconds = Math.max(...ranks.map(({ free }) => free));
  const busy = Float64Array.from(ranks, (rank) => rank.busy);
  const sending = Float64Array.from(ranks, (rank) => rank.sending);
  const idle = busy.map((time, rank) => Math.max(0, seconds - time - (sending[rank] as number)));
  return { seconds, busy, sending, idle };
}

/** Work below this share of a pass is rounding. */
const NOTHING = 1e-12;

/** One pipeline rank on its way through its passes. */
class Rank {
  /** Seconds of the pass under way, on a core of its own; 0 between passes. */
  left = 0;
  /** When it can go on, as far as is known. */
  wake = 0;
  /** When its last pass and the send behind it ended. */
  free = 0;
  busy = 0;
  sending = 0;
  readonly #order: Order;
  readonly #costs: StageCosts;
  readonly #stop: number;
  #at: number;
  #whole = 0;

  constructor(order: Order, costs: StageCosts, start: number, stop: number) {
    this.#order = order;
    this.#costs = costs;
    this.#at = start;
    this.#stop = stop;
  }

  get done(): boolean {
    return this.#at >= this.#stop;
  }

  #pass(at: number): { kind: number; stage: number; key: number } {
    const word = this.#order.passes[at] as number;
    const stage = passStage(word);
    return { kind: passKind(word), stage, key: stage * this.#order.micros + passMicro(word) };
  }

  /** Starts the next pass if its rank is free and its inputs are there; else says when they will be, or that nobody knows. */
  begin(now: number, sent: Float64Array, back: Float64Array): void {
    if (this.left > 0) return;
    this.wake = Number.POSITIVE_INFINITY;
    if (this.done) return;
    const { micros, stages } = this.#order;
    const { forward, backward, weight } = this.#costs;
    const { kind, stage, key } = this.#pass(this.#at);
    const gradient = (of: number, its: number) => gradientReady(of, its, stages, micros, sent, back);
    const input = () => (stage > 0 ? (sent[key - micros] as number) : 0);
    let ready = 0;
    let work = 0;
    if (kind === PASS.backwardWeight) work = weight[stage] as number;
    else if (kind === PASS.forward) {
      ready = input();
      work = forward[stage] as number;
    } else if (kind === PASS.forwardPaired) {
      const partner = this.#pass(this.#at + 1);
      const other = gradient(partner.stage, partner.key);
      ready = other < 0 ? other : input() < 0 ? -1 : Math.max(input(), other);
      work = pairSeconds(this.#costs, stage, partner.stage);
    } else {
      ready = gradient(stage, key);
      work = (backward[stage] as number) - (kind === PASS.backwardInput ? (weight[stage] as number) : 0);
    }
    if (ready < 0) return;
    const from = Math.max(ready, this.free);
    if (from > now) this.wake = from;
    else {
      this.left = Math.max(work, Number.MIN_VALUE);
      this.#whole = work;
    }
  }

  /** Lets time pass; a pass that ends hands on what it made. */
  run(passed: number, pace: number, now: number, sent: Float64Array, back: Float64Array): void {
    if (this.left === 0) return;
    this.busy += passed;
    this.left -= passed * pace;
    if (this.left > NOTHING * this.#whole) return;
    this.left = 0;
    const { hop, blockingHops } = this.#costs;
    const { kind, stage, key } = this.#pass(this.#at);
    let out = 0;
    const give = (to: Float64Array, its: number, seconds: number) => {
      to[its] = now + seconds;
      out = Math.max(out, seconds);
    };
    const giveBack = (of: number, its: number) => give(back, its, of > 0 ? (hop[of - 1] as number) : 0);
    if (kind === PASS.forward || kind === PASS.forwardPaired) give(sent, key, hop[stage] as number);
    else if (kind !== PASS.backwardWeight) giveBack(stage, key);
    if (kind === PASS.forwardPaired) {
      const partner = this.#pass(this.#at + 1);
      giveBack(partner.stage, partner.key);
      this.#at++;
    }
    this.#at++;
    this.free = now;
    if (blockingHops) {
      this.sending += out;
      this.free += out;
    }
  }
}
