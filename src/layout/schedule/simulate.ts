import { type Order, packPass, PASS, passKind, passMicro, passStage } from "./orders.ts";

/** Seconds of one micro-batch through each virtual stage. */
export type StageCosts = {
  /** Whole passes, with their own exposed communication inside. */
  readonly forward: Float64Array;
  /** Input and weight gradients together, recomputation included. */
  readonly backward: Float64Array;
  /** The part of `backward` that can run later (weight gradients). */
  readonly weight: Float64Array;
  /** Communication inside each pass that a paired pass of the other direction can hide. */
  readonly forwardComm: Float64Array;
  readonly backwardComm: Float64Array;
  /** Activation from stage s to s + 1 (and its gradient back); entry s, 0 where both live on one rank. */
  readonly hop: Float64Array;
  /** Ranks wait for their sends (no overlap of pipeline messages with compute). */
  readonly blockingHops: boolean;
  /** How much slower compute runs while it hides communication, e.g. 0.05. */
  readonly pairSlowdown: number;
};

export type Simulation = {
  /** From the first pass to the last, over all ranks. */
  readonly seconds: number;
  /** Per pipeline rank: time in passes, in blocking sends, and waiting. They add up to `seconds`. */
  readonly busy: Float64Array;
  readonly sending: Float64Array;
  readonly idle: Float64Array;
  /** Start and end of every pass in the order's numbering; only when asked for. */
  readonly start?: Float64Array;
  readonly end?: Float64Array;
};

/**
 * Runs an order against stage costs: each rank takes its passes in turn, a pass starts when its rank is free and its input has
 * arrived. Longest path in passes + messages, O(passes).
 *
 * @throws Error when the order waits for itself (a bug of the order, never of the costs)
 */
export function simulate(order: Order, costs: StageCosts, trace = false): Simulation {
  const { pp, stages, micros, passes, starts } = order;
  const sent = new Float64Array(stages * micros).fill(-1);
  const back = new Float64Array(stages * micros).fill(-1);
  const free = new Float64Array(pp);
  const busy = new Float64Array(pp);
  const sending = new Float64Array(pp);
  const next = Int32Array.from(starts.subarray(0, pp));
  const start = trace ? new Float64Array(passes.length) : undefined;
  const end = trace ? new Float64Array(passes.length) : undefined;
  const { forward, backward, weight, hop, blockingHops } = costs;
  let left = passes.length;
  while (left > 0) {
    const before = left;
    for (let rank = 0; rank < pp; rank++) {
      const stop = starts[rank + 1] as number;
      let at = next[rank] as number;
      let now = free[rank] as number;
      while (at < stop) {
        const word = passes[at] as number;
        const kind = passKind(word);
        const stage = passStage(word);
        const micro = passMicro(word);
        const key = stage * micros + micro;
        let seconds: number;
        let wait = 0;
        if (kind === PASS.forward || kind === PASS.forwardPaired) {
          if (stage > 0) {
            wait = sent[key - micros] as number;
            if (wait < 0) break;
          }
          seconds = forward[stage] as number;
          if (kind === PASS.forwardPaired) {
            const partner = passes[at + 1] as number;
            const other = passStage(partner);
            const otherKey = other * micros + passMicro(partner);
            const ready = gradientReady(other, otherKey, stages, micros, sent, back);
            if (ready < 0) break;
            wait = Math.max(wait, ready);
            const begin = Math.max(now, wait);
            const both = pairSeconds(costs, stage, other);
            const finish = begin + both;
            busy[rank] = (busy[rank] as number) + both;
            now = finish;
            sent[key] = finish + (hop[stage] as number);
            back[otherKey] = finish + (other > 0 ? (hop[other - 1] as number) : 0);
            if (blockingHops) {
              const out = Math.max(hop[stage] as number, other > 0 ? (hop[other - 1] as number) : 0);
              sending[rank] = (sending[rank] as number) + out;
              now += out;
            }
            if (start && end) {
              start[at] = begin;
              start[at + 1] = begin;
              end[at] = finish;
              end[at + 1] = finish;
            }
            at += 2;
            left -= 2;
            continue;
          }
        } else if (kind === PASS.backwardWeight) {
          seconds = weight[stage] as number;
        } else {
          wait = gradientReady(stage, key, stages, micros, sent, back);
          if (wait < 0) break;
          seconds = backward[stage] as number;
          if (kind === PASS.backwardInput) seconds -= weight[stage] as number;
        }
        const begin = now > wait ? now : wait;
        now = begin + seconds;
        busy[rank] = (busy[rank] as number) + seconds;
        if (start && end) {
          start[at] = begin;
          end[at] = now;
        }
        if (kind === PASS.forward) {
          const out = hop[stage] as number;
          sent[key] = now + out;
          if (blockingHops) {
            sending[rank] = (sending[rank] as number) + out;
            now += out;
          }
        } else if (kind !== PASS.backwardWeight) {
          const out = stage > 0 ? (hop[stage - 1] as number) : 0;
          back[key] = now + out;
          if (blockingHops) {
            sending[rank] = (sending[rank] as number) + out;
            now += out;
          }
        }
        at++;
        left--;
      }
      next[rank] = at;
      free[rank] = now;
    }
    if (left === before)
      throw new Error(`the ${order.schedule} order waits for itself (pp ${pp}, ${micros} micro-batches)`);
  }
  let seconds = 0;
  for (const time of free) seconds = Math.max(seconds, time);
  const idle = busy.map((time, rank) => Math.max(0, seconds - time - (sending[rank] as number)));
  return { seconds, busy, sending, idle, ...(start && end ? { start, end } : {}) };
}

/** When the gradient of a stage's output is there: from the next stage, or from its own forward at the end of the pipeline. */
export function gradientReady(
  stage: number,
  key: number,
  stages: number,
  micros: number,
  sent: Float64Array,
  back: Float64Array,
): number {
  return (stage === stages - 1 ? sent[key] : back[key + micros]) as number;
}

/** Seconds of a forward and a backward run as one: each direction's communication hides behind the other's compute. */
export function pairSeconds(costs: StageCosts, forwardStage: number, backwardStage: number): number {
  const comm = (costs.forwardComm[forwardStage] as number) + (costs.backwardComm[backwardStage] as number);
  const work = (costs.forward[forwardStage] as number) + (costs.backward[backwardStage] as number) - comm;
  if (comm === 0) return work;
  const hidden = Math.min(work, comm);
  return Math.max(work, comm) + costs.pairSlowdown * hidden;
}

/**
 * A long step from a short one, exactly. A step is a max-plus system: once every pass of a window that holds all of its
 * dependencies ends a fixed time after the same pass one period earlier, so does every later one, and the drain with them
 * (Baccelli et al. 1992). The window is checked pass by pass on two short steps that differ by one period; where it does not
 * repeat (very uneven stages take long to settle), or the schedule has no steady state (GPipe), the step is simulated whole.
 */
export function simulateLong(
  orderOf: (micros: number) => Order,
  costs: StageCosts,
  micros: number,
  pp: number,
): Simulation {
  const step = pp * Math.max(1, Math.ceil(8 / pp));
  // The same remainder as the real count, so that interleaved groups stay whole.
  const short = micros - Math.ceil((micros - 8 * pp - step) / step) * step;
  if (micros <= short + 2 * step) return simulate(orderOf(micros), costs);
  const before = orderOf(short);
  if (before.schedule === "gpipe") return simulate(orderOf(micros), costs);
  const after = orderOf(short + step);
  const a = simulate(before, costs, true);
  const b = simulate(after, costs, true);
  // In flight and in the drain are at most 2 pp micro-batches each; one period more closes the window.
  if (!repeats(before, a, after, b, short - 4 * pp - step)) return simulate(orderOf(micros), costs);
  const periods = (micros - short) / step;
  const grow = (x: number, y: number) => x + (y - x) * periods;
  const each = (x: Float64Array, y: Float64Array) => x.map((value, i) => grow(value, y[i] as number));
  return {
    seconds: grow(a.seconds, b.seconds),
    busy: each(a.busy, b.busy),
    sending: each(a.sending, b.sending),
    idle: each(a.idle, b.idle),
  };
}

/** Whether all passes from micro-batch `from` on end later by one and the same time when the step is one period longer. */
function repeats(before: Order, a: Simulation, after: Order, b: Simulation, from: number): boolean {
  const period = b.seconds - a.seconds;
  const shift = packPass(0, 0, after.micros - before.micros);
  for (let rank = 0; rank < before.pp; rank++) {
    const first = before.starts[rank] as number;
    let at = (before.starts[rank + 1] as number) - 1;
    let later = (after.starts[rank + 1] as number) - 1;
    for (; at >= first; at--, later--) {
      const word = before.passes[at] as number;
      if (passMicro(word) < from) break;
      const late = ((b.end as Float64Array)[later] as number) - ((a.end as Float64Array)[at] as number);
      if (after.passes[later] !== word + shift || Math.abs(late - period) > 1e-12 * b.seconds) return false;
    }
  }
  return true;
}
