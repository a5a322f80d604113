import type { Bins } from "./bins.ts";
import { rankLoads, slowest } from "./refine.ts";
import { countsOf } from "./search.ts";

/** Where the experts of one layer stand while they are moved: the slots, and all that follows from them and the loads. */
export class Standing {
  readonly bins: Bins;
  /** Changed in place. */
  readonly slots: Int32Array;
  readonly loads: Float64Array;
  readonly counts: Int32Array;
  /** Load of one copy of each expert. */
  readonly share: Float64Array;
  readonly load: Float64Array;
  /** Ranks of each expert's copies. */
  readonly holders: number[][];
  readonly rankOf: Int32Array;

  constructor(bins: Bins, slots: Int32Array, loads: Float64Array) {
    this.bins = bins;
    this.slots = slots;
    this.loads = loads;
    this.counts = countsOf(bins, slots);
    this.share = new Float64Array(bins.experts);
    for (let e = 0; e < bins.experts; e++) {
      if (this.counts[e]) this.share[e] = (loads[e] as number) / (this.counts[e] as number);
    }
    this.load = new Float64Array(bins.ranks);
    rankLoads(bins, this.share, slots, this.load);
    this.rankOf = new Int32Array(bins.total);
    for (let r = 0; r < bins.ranks; r++) this.rankOf.fill(r, bins.start[r], bins.start[r + 1]);
    this.holders = Array.from({ length: bins.experts }, () => []);
    for (let s = 0; s < bins.total; s++) this.#holdersOf(slots[s] as number).push(this.rankOf[s] as number);
  }

  timeOf(r: number): number {
    return (this.load[r] as number) / (this.bins.speed[r] as number);
  }

  time(): number {
    return slowest(this.bins, this.load);
  }

  /** The first of the slowest ranks. */
  slowestRank(): number {
    let r = 0;
    for (let q = 1; q < this.bins.ranks; q++) if (this.timeOf(q) > this.timeOf(r)) r = q;
    return r;
  }

  /** Two slots of different ranks change experts. Returns the ranks whose load changed. */
  exchange(a: number, b: number): readonly number[] {
    const { slots } = this;
    const e = slots[a] as number;
    this.#put(a, slots[b] as number);
    this.#put(b, e);
    const touched = [this.rankOf[a] as number, this.rankOf[b] as number];
    for (const r of touched) this.#sum(r);
    return touched;
  }

  /** A slot takes another copy of expert e instead of its own. Returns the ranks whose load changed. */
  give(s: number, e: number): readonly number[] {
    const f = this.slots[s] as number;
    this.#put(s, e);
    this.#count(e, 1);
    this.#count(f, -1);
    const touched = [...this.#holdersOf(e), ...this.#holdersOf(f), this.rankOf[s] as number];
    for (const r of touched) this.#sum(r);
    return touched;
  }

  #put(s: number, e: number): void {
    const r = this.rankOf[s] as number;
    const left = this.#holdersOf(this.slots[s] as number);
    left.splice(left.indexOf(r), 1);
    this.#holdersOf(e).push(r);
    this.slots[s] = e;
  }

  #count(e: number, by: number): void {
    this.counts[e] = (this.counts[e] as number) + by;
    this.share[e] = (this.loads[e] as number) / Math.max(1, this.counts[e] as number);
  }

  /** Summed anew each time: a load depends on the slots alone, not on the way to them. */
  #sum(r: number): void {
    let all = 0;
    const to = this.bins.start[r + 1] as number;
    for (let s = this.bins.start[r] as number; s < to; s++)
      all += this.share[this.slots[s] as number] as number;
    this.load[r] = all;
  }

  #holdersOf(e: number): number[] {
    return this.holders[e] as number[];
  }
}
