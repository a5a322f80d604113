import type { Bins } from "./bins.ts";
import { type Arrangement, HeavyFirst } from "./heavy-first.ts";
import { exchange, rankLoads } from "./refine.ts";

/** Arrangements that are filled up, for each number of copies of the heaviest expert. */
const MOST_FILLED = 12;
/** How far above the goal arrangements may be; exchanges close what is left. */
const ASKED = [1, 1.01, 1.03];

/**
 * Placements on few ranks from arrangements of the heaviest experts: light ones fill the room that is left, then slots are exchanged. It
 * finds what packing by share does not: many copies of one expert that leave little room, beside ranks without it.
 */
export class Arranger {
  readonly #bins: Bins;
  readonly #search: HeavyFirst;
  readonly #sorted: Float64Array;
  readonly #counts: Int32Array;
  readonly #share: Float64Array;
  readonly #load: Float64Array;
  readonly #used: Int32Array;
  readonly #trial: Int32Array;

  constructor(bins: Bins) {
    this.#bins = bins;
    this.#search = new HeavyFirst(bins);
    this.#sorted = new Float64Array(bins.experts);
    this.#counts = new Int32Array(bins.experts);
    this.#share = new Float64Array(bins.experts);
    this.#load = new Float64Array(bins.ranks);
    this.#used = new Int32Array(bins.ranks);
    this.#trial = new Int32Array(bins.total);
  }

  /**
   * The best placement found goes into `out` if it is faster than `time`.
   * @param order experts from the heaviest down
   * @returns the slowest time of what is in `out` then
   */
  improve(loads: Float64Array, order: Int32Array, out: Int32Array, time: number, goal: number): number {
    const { ranks } = this.#bins;
    const sorted = this.#sorted;
    for (let i = 0; i < sorted.length; i++) sorted[i] = loads[order[i] as number] as number;
    let best = time;
    let filled = 0;
    const fill = (found: Arrangement): boolean => {
      // Spare copies go to the lightest experts: one to each of many, or all to few.
      for (const extra of [1, ranks - 1]) {
        const here = this.#fill(found, extra, goal);
        if (here >= best) continue;
        best = here;
        for (let s = 0; s < out.length; s++) out[s] = order[this.#trial[s] as number] as number;
      }
      return best <= goal || ++filled === MOST_FILLED;
    };
    for (const asked of ASKED) {
      for (let copies = 1; copies <= ranks && best > goal; copies++) {
        filled = 0;
        this.#search.search(sorted, goal * asked, fill, copies);
      }
    }
    return best;
  }

  /** Slowest time of `#trial`, filled around an arrangement, heaviest shares first onto the lightest ranks; Infinity where that fails. */
  #fill({ heavy, on }: Arrangement, extra: number, goal: number): number {
    const { ranks, start, slots, experts, total } = this.#bins;
    const trial = this.#trial;
    const counts = this.#counts.fill(1);
    const share = this.#share;
    const load = this.#load.fill(0);
    const used = this.#used.fill(0);
    let spare = total - experts;
    for (let i = 0; i < heavy; i++) {
      counts[i] = (on[i] as readonly number[]).length;
      spare -= (counts[i] as number) - 1;
    }
    for (let i = experts - 1; i >= heavy && spare > 0; i--) {
      counts[i] = 1 + Math.min(spare, extra);
      spare -= (counts[i] as number) - 1;
    }
    if (spare > 0) return Number.POSITIVE_INFINITY;
    for (let i = 0; i < experts; i++) share[i] = (this.#sorted[i] as number) / (counts[i] as number);
    const put = (r: number, i: number): void => {
      trial[(start[r] as number) + (used[r] as number)] = i;
      used[r] = (used[r] as number) + 1;
      load[r] = (load[r] as number) + (share[i] as number);
    };
    for (let i = 0; i < heavy; i++) for (const r of on[i] as readonly number[]) put(r, i);
    const rest = Array.from({ length: experts - heavy }, (_, k) => heavy + k);
    rest.sort((a, b) => (share[b] as number) - (share[a] as number) || a - b);
    const holder = new Int32Array(ranks).fill(-1);
    for (const i of rest) {
      for (let c = counts[i] as number; c > 0; c--) {
        let least = -1;
        for (let r = 0; r < ranks; r++) {
          if (used[r] === slots[r] || holder[r] === i) continue;
          if (least < 0 || (load[r] as number) < (load[least] as number)) least = r;
        }
        if (least < 0) return Number.POSITIVE_INFINITY;
        holder[least] = i;
        put(least, i);
      }
    }
    rankLoads(this.#bins, share, trial, load);
    return exchange(this.#bins, share, trial, load, goal, 4 * total);
  }
}
