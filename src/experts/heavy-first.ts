import type { Bins } from "./bins.ts";

/** Steps of one search; where they run out the question stays open. */
const MOST_STEPS = 3000;
/** Experts lighter than this share of the time, and those after the first few, are taken as a fluid; none in a small layer. */
const LIGHT = 0.03;
const MOST_HEAVY = 6;
const SMALL = 16;
/** Ranks above which there are too many arrangements. */
const MOST_RANKS = 16;
/** How finely the least time is searched, as a ratio. */
const STEP = 1.0005;

/** Where the heavy experts stand: of the first `heavy` experts of the search, expert i is on the ranks `on[i]`. */
export type Arrangement = { readonly heavy: number; readonly on: readonly (readonly number[])[] };
type Leaf = (found: Arrangement) => boolean;

/**
 * Branch and bound over the copies and ranks of the heaviest experts, the heaviest first; of ranks in the same state one is tried. The
 * light experts that are left are a fluid, which must fit into the room left: no rank takes more of it than its free slots can hold, and
 * the free slots of the fullest ranks must be filled all the same. Where no arrangement is left, no placement has the time that is asked.
 */
export class HeavyFirst {
  readonly #bins: Bins;
  readonly #prefix: Float64Array;
  readonly #room: Float64Array;
  readonly #free: Int32Array;
  readonly #fullest: Int32Array;
  readonly #copies: Int32Array;
  readonly #on: number[][];
  #heavy = 0;
  #only = 0;
  #steps = 0;
  #leaf: Leaf = () => true;

  constructor(bins: Bins) {
    this.#bins = bins;
    this.#prefix = new Float64Array(bins.experts + 1);
    this.#room = new Float64Array(bins.ranks);
    this.#free = new Int32Array(bins.ranks);
    this.#fullest = new Int32Array(bins.ranks);
    this.#copies = new Int32Array(bins.experts);
    this.#on = Array.from({ length: bins.experts }, () => []);
  }

  /** Whether bins are few and alike, so that a search goes through enough of the arrangements. */
  static suits(bins: Bins): boolean {
    return bins.even && bins.ranks > 1 && bins.ranks <= MOST_RANKS;
  }

  /**
   * A time, at least `from`, of which it is proven that no placement is faster.
   * @param loads from the heaviest down
   */
  raise(loads: Float64Array, from: number): number {
    let low = from;
    let stride = STEP;
    // Ever longer strides until something may fit, then halving.
    while (!this.search(loads, low * stride)) {
      low *= stride;
      stride *= stride;
    }
    let high = low * stride;
    while (high > low * STEP) {
      const middle = Math.sqrt(low * high);
      if (this.search(loads, middle)) high = middle;
      else low = middle;
    }
    return low;
  }

  /**
   * False where it is proven that no placement has all ranks at or below `time`.
   * @param loads from the heaviest down
   * @param leaf shown the arrangements found until it says true; default: content with the first
   * @param only copies of the heaviest expert; 0 where any number will do (with a number, false proves nothing of others)
   */
  search(loads: Float64Array, time: number, leaf: Leaf = () => true, only = 0): boolean {
    const { experts, slots, speed, total } = this.#bins;
    for (let i = 0; i < experts; i++)
      this.#prefix[i + 1] = (this.#prefix[i] as number) + (loads[i] as number);
    const limit = time * (speed[0] as number) * (1 + 1e-12);
    this.#room.fill(limit);
    this.#free.set(slots);
    this.#steps = 0;
    this.#only = only;
    this.#leaf = leaf;
    const most = experts <= SMALL ? experts : MOST_HEAVY;
    const least = experts <= SMALL ? 0 : LIGHT * limit;
    this.#heavy = 0;
    while (this.#heavy < most && (loads[this.#heavy] as number) > least) this.#heavy++;
    return this.#place(0, total - experts) || this.#steps > MOST_STEPS;
  }

  /** Load of the experts i .. j - 1. */
  #sum(i: number, j: number): number {
    return (this.#prefix[j] as number) - (this.#prefix[i] as number);
  }

  /** Places expert i and those after it. True stops the search. */
  #place(i: number, spare: number): boolean {
    if (++this.#steps > MOST_STEPS || !this.#fits(i, spare)) return false;
    if (i === this.#heavy) return this.#leaf({ heavy: i, on: this.#on });
    const { ranks } = this.#bins;
    const load = this.#sum(i, i + 1);
    let widest = 0;
    for (let r = 0; r < ranks; r++) if (this.#free[r]) widest = Math.max(widest, this.#room[r] as number);
    const least = Math.max(1, Math.ceil(load / widest - 1e-9));
    for (let c = least; c <= Math.min(spare + 1, ranks); c++) {
      if (i === 0 && this.#only > 0 && c !== this.#only) continue;
      (this.#on[i] as number[]).length = 0;
      if (this.#copy(i, spare - c + 1, load / c, c, 0)) return true;
    }
    return false;
  }

  /** Puts `left` copies of expert i, `share` each, onto ranks from `from` on, then goes on with the next expert. */
  #copy(i: number, spare: number, share: number, left: number, from: number): boolean {
    if (left === 0) return this.#place(i + 1, spare);
    const room = this.#room;
    const free = this.#free;
    const on = this.#on[i] as number[];
    for (let r = from; r <= this.#bins.ranks - left; r++) {
      if (free[r] === 0 || (room[r] as number) < share) continue;
      // Of ranks in the same state the first ones take the copies.
      let alike = false;
      for (let q = 0; q < r && !alike; q++)
        alike = room[q] === room[r] && free[q] === free[r] && !on.includes(q);
      if (alike) continue;
      if (++this.#steps > MOST_STEPS) return false;
      const had = room[r] as number;
      room[r] = had - share;
      free[r] = (free[r] as number) - 1;
      on.push(r);
      if (this.#copy(i, spare, share, left - 1, r + 1)) return true;
      on.pop();
      room[r] = had;
      free[r] = (free[r] as number) + 1;
    }
    return false;
  }

  /** What every placement of the experts from i on keeps. */
  #fits(i: number, spare: number): boolean {
    const { ranks, experts } = this.#bins;
    const room = this.#room;
    const free = this.#free;
    const fullest = this.#fullest;
    const left = this.#sum(i, experts);
    const tiny = left * 1e-12;
    const heaviest = (slots: number) => this.#sum(i, Math.min(experts, i + slots));
    let held = 0;
    for (let r = 0; r < ranks; r++) {
      held += Math.min(room[r] as number, heaviest(free[r] as number));
      let at = r;
      for (; at > 0 && (room[fullest[at - 1] as number] as number) > (room[r] as number); at--)
        fullest[at] = fullest[at - 1] as number;
      fullest[at] = r;
    }
    if (held < left - tiny) return false;
    // What the slots of the other ranks cannot take, not even with the heaviest experts, is on the fullest ranks.
    let others = experts - i + spare;
    let tight = 0;
    for (let k = 0; k < ranks - 1; k++) {
      const r = fullest[k] as number;
      tight += room[r] as number;
      others -= free[r] as number;
      if (left - heaviest(others) > tight + tiny) return false;
    }
    const first = fullest[0] as number;
    return this.#lightest(i, free[first] as number, spare) <= (room[first] as number) + tiny;
  }

  /** Least load that `slots` slots of one rank can have: the lightest experts, spare copies where they lighten most. */
  #lightest(i: number, slots: number, spare: number): number {
    const { experts } = this.#bins;
    const first = Math.max(i, experts - slots);
    const copies = this.#copies.fill(1);
    let sum = this.#sum(first, experts);
    for (let left = spare; left > 0; left--) {
      let most = 0;
      let at = first;
      for (let e = first; e < experts; e++) {
        const c = copies[e] as number;
        const less = this.#sum(e, e + 1) / (c * (c + 1));
        if (less > most) [most, at] = [less, e];
      }
      sum -= most;
      copies[at] = (copies[at] as number) + 1;
    }
    return sum;
  }
}
