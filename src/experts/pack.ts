import { type Bins, sortDescending } from "./bins.ts";

/**
 * First packing of one layer. Copies are spread, items are sorted by share, then packed:
 * - even bins: balanced largest-differencing (Michiels, Korst, Aarts, van Leeuwen 2003): the sorted items are cut into one tuple of
 *   `ranks` items per slot; the two tuples with the widest spread are merged heavy-with-light until one is left. O(R log P).
 * - uneven bins: heaviest first onto the rank that finishes first.
 * Two copies of one expert on a rank are then exchanged away. All scratch memory is allocated once and used for every layer.
 */
export class Packer {
  readonly bins: Bins;
  readonly order: Int32Array;
  readonly counts: Int32Array;
  /** Load that one copy of each expert carries. */
  readonly share: Float64Array;
  readonly #keys: Float64Array;
  readonly #items: Int32Array;
  readonly #sums: Float64Array[];
  readonly #members: Int32Array[];
  readonly #columnKeys: Float64Array;
  readonly #columnOrder: Int32Array;

  constructor(bins: Bins) {
    this.bins = bins;
    this.order = new Int32Array(bins.experts);
    this.counts = new Int32Array(bins.experts);
    this.share = new Float64Array(bins.experts);
    this.#keys = new Float64Array(bins.experts);
    this.#items = new Int32Array(bins.total);
    const tuples = bins.even ? (bins.slots[0] as number) : 0;
    // One buffer more than tuples: a merge writes into the free one.
    this.#sums = Array.from({ length: tuples + 1 }, () => new Float64Array(bins.ranks));
    this.#members = Array.from({ length: tuples + 1 }, () => new Int32Array(bins.ranks * tuples));
    this.#columnKeys = new Float64Array(bins.ranks);
    this.#columnOrder = new Int32Array(bins.ranks);
  }

  /** Packs with given copies (on uneven bins changed to what fits: `counts` of this object has them); `heaviestFirst` asks for the rule of uneven bins, which suits a few heavy copies among many light. */
  packCounts(loads: Float64Array, counts: Int32Array, out: Int32Array, heaviestFirst = false): void {
    if (!this.tryCounts(loads, counts, out, heaviestFirst)) dealOut(this.bins, this.order, this.counts, out);
  }

  /** The same, but false where the rule runs into second copies that it cannot part; `out` is then no placement. */
  tryCounts(loads: Float64Array, counts: Int32Array, out: Int32Array, heaviestFirst = false): boolean {
    const { bins, share } = this;
    if (counts !== this.counts) this.counts.set(counts);
    if (!bins.even) evenOut(bins, loads, this.counts);
    for (let e = 0; e < bins.experts; e++) share[e] = (loads[e] as number) / (this.counts[e] as number);
    sortDescending(share, this.#keys, this.order);
    let at = 0;
    for (let i = 0; i < bins.experts; i++) {
      const e = this.order[i] as number;
      for (let c = this.counts[e] as number; c > 0; c--) this.#items[at++] = e;
    }
    if (!bins.even) return this.#earliestFinish(out);
    if (heaviestFirst) return this.#lightestRank(out);
    this.#differencing(out);
    return bins.total === bins.experts || separate(bins, share, out);
  }

  #differencing(out: Int32Array): void {
    const { bins, share } = this;
    const ranks = bins.ranks;
    const tuples = bins.slots[0] as number;
    const live: { buffer: number; width: number; spread: number }[] = [];
    for (let t = 0; t < tuples; t++) {
      const sums = this.#sums[t] as Float64Array;
      const members = this.#members[t] as Int32Array;
      for (let i = 0; i < ranks; i++) {
        const e = this.#items[t * ranks + i] as number;
        sums[i] = share[e] as number;
        members[i * tuples] = e;
      }
      live.push({ buffer: t, width: 1, spread: (sums[0] as number) - (sums[ranks - 1] as number) });
    }
    let free = tuples;
    while (live.length > 1) {
      live.sort((a, b) => b.spread - a.spread || a.buffer - b.buffer);
      const [a, b] = live.splice(0, 2) as [(typeof live)[0], (typeof live)[0]];
      const spread = this.#merge(a, b, free);
      const buffer = free;
      free = a.buffer;
      live.push({ buffer, width: a.width + b.width, spread });
    }
    out.set(this.#members[(live[0] as { buffer: number }).buffer] as Int32Array);
  }

  /** Adds the heaviest column of one group to the lightest of the other, writes the sorted columns into `into`. */
  #merge(a: { buffer: number; width: number }, b: { buffer: number; width: number }, into: number): number {
    const ranks = this.bins.ranks;
    const tuples = this.bins.slots[0] as number;
    const sumsA = this.#sums[a.buffer] as Float64Array;
    const sumsB = this.#sums[b.buffer] as Float64Array;
    const membersA = this.#members[a.buffer] as Int32Array;
    const membersB = this.#members[b.buffer] as Int32Array;
    const sums = this.#sums[into] as Float64Array;
    const members = this.#members[into] as Int32Array;
    for (let i = 0; i < ranks; i++) sumsA[i] = (sumsA[i] as number) + (sumsB[ranks - 1 - i] as number);
    sortDescending(sumsA, this.#columnKeys, this.#columnOrder);
    for (let i = 0; i < ranks; i++) {
      const from = this.#columnOrder[i] as number;
      sums[i] = sumsA[from] as number;
      let at = i * tuples;
      for (let k = 0; k < a.width; k++) members[at++] = membersA[from * tuples + k] as number;
      const other = (ranks - 1 - from) * tuples;
      for (let k = 0; k < b.width; k++) members[at++] = membersB[other + k] as number;
    }
    return (sums[0] as number) - (sums[ranks - 1] as number);
  }

  /**
   * The same as `#earliestFinish` where all ranks are alike: the copies of an expert, heaviest first, onto the lightest ranks with room,
   * the first of equals. A heap holds the ranks; those that got a copy go back when all copies are placed.
   */
  #lightestRank(out: Int32Array): boolean {
    const { bins, share } = this;
    const each = bins.slots[0] as number;
    const used = new Int32Array(bins.ranks);
    const load = new Float64Array(bins.ranks);
    const heap = Int32Array.from({ length: bins.ranks }, (_, r) => r);
    const got = new Int32Array(bins.ranks);
    const before = (a: number, b: number) =>
      (load[a] as number) < (load[b] as number) || (load[a] === load[b] && a < b);
    let size = bins.ranks;
    for (let i = 0; i < bins.total; ) {
      const e = this.#items[i] as number;
      const copies = this.counts[e] as number;
      if (copies > size) return false;
      for (let c = 0; c < copies; c++) {
        got[c] = heap[0] as number;
        const last = heap[--size] as number;
        let at = 0;
        for (;;) {
          let child = 2 * at + 1;
          if (child >= size) break;
          if (child + 1 < size && before(heap[child + 1] as number, heap[child] as number)) child++;
          if (before(last, heap[child] as number)) break;
          heap[at] = heap[child] as number;
          at = child;
        }
        heap[at] = last;
      }
      for (let c = 0; c < copies; c++) {
        const r = got[c] as number;
        out[(bins.start[r] as number) + (used[r] as number)] = e;
        used[r] = (used[r] as number) + 1;
        load[r] = (load[r] as number) + (share[e] as number);
        if (used[r] === each) continue;
        let at = size++;
        while (at > 0) {
          const up = (at - 1) >> 1;
          if (before(heap[up] as number, r)) break;
          heap[at] = heap[up] as number;
          at = up;
        }
        heap[at] = r;
      }
      i += copies;
    }
    return true;
  }

  /** Heaviest item first onto the rank with room that would finish earliest. */
  #earliestFinish(out: Int32Array): boolean {
    const { bins, share } = this;
    const used = new Int32Array(bins.ranks);
    const load = new Float64Array(bins.ranks);
    for (let i = 0; i < bins.total; i++) {
      const e = this.#items[i] as number;
      let best = -1;
      let bestTime = Number.POSITIVE_INFINITY;
      for (let r = 0; r < bins.ranks; r++) {
        if ((used[r] as number) >= (bins.slots[r] as number)) continue;
        const time = ((load[r] as number) + (share[e] as number)) / (bins.speed[r] as number);
        if (time < bestTime && !holds(bins, out, r, e, used[r] as number)) {
          bestTime = time;
          best = r;
        }
      }
      if (best < 0) return false;
      out[(bins.start[best] as number) + (used[best] as number)] = e;
      used[best] = (used[best] as number) + 1;
      load[best] = (load[best] as number) + (share[e] as number);
    }
    return true;
  }
}

/** Whether rank r has expert e among its first `count` slots. */
export function holds(bins: Bins, slots: Int32Array, r: number, e: number, count?: number): boolean {
  const from = bins.start[r] as number;
  const to = from + (count ?? (bins.slots[r] as number));
  for (let s = from; s < to; s++) if (slots[s] === e) return true;
  return false;
}

/** Exchanges second copies on a rank away, each for the item of nearest share. False if an exchange cannot be found. */
function separate(bins: Bins, share: Float64Array, slots: Int32Array): boolean {
  for (let r = 0; r < bins.ranks; r++) {
    const from = bins.start[r] as number;
    for (let s = from + 1; s < (bins.start[r + 1] as number); s++) {
      const e = slots[s] as number;
      if (!holds(bins, slots, r, e, s - from)) continue;
      let best = -1;
      let bestGap = Number.POSITIVE_INFINITY;
      for (let q = 0; q < bins.ranks; q++) {
        if (q === r || holds(bins, slots, q, e)) continue;
        for (let t = bins.start[q] as number; t < (bins.start[q + 1] as number); t++) {
          const f = slots[t] as number;
          const gap = Math.abs((share[f] as number) - (share[e] as number));
          if (gap < bestGap && !holds(bins, slots, r, f)) {
            bestGap = gap;
            best = t;
          }
        }
      }
      if (best < 0) return false;
      slots[s] = slots[best] as number;
      slots[best] = e;
    }
  }
  return true;
}

/**
 * Changes copies until a packing without second copies exists: for each k, the k experts with most copies need at most
 * sum of min(slots, k) places (Gale and Ryser). One copy at a time goes from the most copied of them to the least copied expert.
 */
function evenOut(bins: Bins, loads: Float64Array, counts: Int32Array): void {
  const places = new Int32Array(bins.experts + 1);
  for (let k = 1; k <= bins.experts; k++) {
    for (let r = 0; r < bins.ranks; r++)
      places[k] = (places[k] as number) + Math.min(bins.slots[r] as number, k);
  }
  for (;;) {
    const experts = Array.from(counts.keys()).sort(
      (a, b) =>
        (counts[b] as number) - (counts[a] as number) || (loads[b] as number) - (loads[a] as number) || a - b,
    );
    let need = 0;
    const k = experts.findIndex((e, i) => {
      need += counts[e] as number;
      return need > (places[i + 1] as number);
    });
    if (k < 0) return;
    const fewest = counts[experts.at(-1) as number] as number;
    const at = (counts[experts[k] as number] as number) - fewest >= 2 ? k : 0;
    const from = experts[at] as number;
    const to = experts.find((e) => counts[e] === fewest) as number;
    if ((counts[from] as number) - fewest < 2) throw new RangeError("copies do not fit the slots");
    counts[from] = (counts[from] as number) - 1;
    counts[to] = (counts[to] as number) + 1;
  }
}

/**
 * A packing without second copies whatever the loads: experts with most copies first, each onto the ranks with most room left.
 * It finds one whenever one exists (Gale and Ryser); balance is left to the exchanges that follow.
 */
function dealOut(bins: Bins, order: Int32Array, counts: Int32Array, out: Int32Array): void {
  const used = new Int32Array(bins.ranks);
  const experts = Array.from(order).sort((a, b) => (counts[b] as number) - (counts[a] as number));
  const ranks = Array.from({ length: bins.ranks }, (_, r) => r);
  const room = (r: number) => (bins.slots[r] as number) - (used[r] as number);
  for (const e of experts) {
    ranks.sort((a, b) => room(b) - room(a) || a - b);
    for (const r of ranks.slice(0, counts[e] as number)) {
      if (room(r) === 0) throw new RangeError("copies do not fit the slots");
      out[(bins.start[r] as number) + (used[r] as number)] = e;
      used[r] = (used[r] as number) + 1;
    }
  }
}
