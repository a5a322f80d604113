import { type Bins, sortDescending } from "./bins.ts";
import { spreadCopies } from "./copies.ts";
import { HeavyFirst } from "./heavy-first.ts";

/** Which argument gives the bound. */
export type BoundKind =
  | "mean"
  | "capacity"
  | "copies"
  | "companions"
  | "pigeonhole"
  | "arrangement"
  | "topology";

/**
 * A proven lower bound on the time of the slowest rank (load / speed) of one layer, under the rule that copies share their
 * expert's load equally. `ratio` is the bound over the perfect mean; `wall` names the heaviest experts that make it, if any.
 */
export type Bound = {
  readonly time: number;
  readonly ratio: number;
  readonly kind: BoundKind;
  readonly wall: readonly number[];
};

/** Finds bounds of many layers of one packing problem with scratch memory of its own. */
export class BoundFinder {
  readonly bins: Bins;
  /** Of the layer looked at last: experts from the heaviest down, and copies that make the largest share smallest. */
  readonly order: Int32Array;
  readonly counts: Int32Array;
  readonly #keys: Float64Array;
  readonly #heap: Int32Array;
  readonly #sorted: Float64Array;
  readonly #heavyFirst: HeavyFirst | undefined;

  constructor(bins: Bins) {
    this.bins = bins;
    this.order = new Int32Array(bins.experts);
    this.counts = new Int32Array(bins.experts);
    this.#keys = new Float64Array(bins.experts);
    this.#heap = new Int32Array(bins.experts);
    this.#sorted = new Float64Array(bins.experts);
    this.#heavyFirst = HeavyFirst.suits(bins) ? new HeavyFirst(bins) : undefined;
  }

  /**
   * The bound of `flatBound`, raised on few ranks that are alike by searching arrangements of the heaviest experts.
   * `floor`: bounds below it need not be told apart.
   */
  find(loads: Float64Array, floor = 0): Bound {
    const { bins, order, counts } = this;
    sortDescending(loads, this.#keys, order);
    const share = spreadCopies(loads, order, bins.total, bins.ranks, counts, this.#heap);
    const bound = flatBound(bins, loads, order, counts, share);
    const from = Math.max(floor, bound.time);
    if (!this.#heavyFirst || from === 0) return bound;
    const sorted = this.#sorted;
    for (let i = 0; i < sorted.length; i++) sorted[i] = loads[order[i] as number] as number;
    const time = this.#heavyFirst.raise(sorted, from);
    if (time === from) return bound;
    const unit = time * (bins.speed[0] as number);
    return {
      time,
      ratio: (time / bound.time) * bound.ratio,
      kind: "arrangement",
      wall: Array.from(order).filter((e) => (loads[e] as number) * 4 > unit),
    };
  }
}

/**
 * Bound of one packing problem.
 * - mean (B0): all load over all speed.
 * - capacity (uneven ranks): a rank with s slots holds at most the s heaviest experts; the others carry what that leaves.
 * - copies (B1): the smallest largest share that the spare slots allow, on the fastest rank.
 * - companions (B2, averaged; with copies too): let H be the m heaviest experts and h <= m + spare the number of ranks that hold one.
 *   The other ranks hold only other experts, at most the heaviest that fit their slots; everything else is on those h ranks.
 * - pigeonhole (B2, no spare slots): of the m heaviest experts, m one more than `ranks` times (k-1), some rank holds k;
 *   its other slots hold at least the lightest experts.
 *
 * @param order experts from the heaviest down; `counts` and `largestShare` from `spreadCopies`
 */
function flatBound(
  bins: Bins,
  loads: Float64Array,
  order: Int32Array,
  counts: Int32Array,
  largestShare: number,
): Bound {
  const n = bins.experts;
  const prefix = new Float64Array(n + 1);
  for (let i = 0; i < n; i++) prefix[i + 1] = (prefix[i] as number) + (loads[order[i] as number] as number);
  const all = prefix[n] as number;
  const mean = all / bins.speedSum;
  let time = mean;
  let kind: BoundKind = "mean";
  let wallSize = 0;
  if (mean === 0) return { time: 0, ratio: 1, kind, wall: [] };

  if (!bins.even) {
    time = capacityTime(bins, prefix);
    if (time > mean) kind = "capacity";
  }

  const fast = Float64Array.from(bins.speed).sort().reverse();
  const wide = Int32Array.from(bins.slots).sort().reverse();
  const copiesTime = bins.even ? largestShare / (fast[0] as number) : unevenCopies(bins, loads, fast, time);
  if (copiesTime > time) {
    time = copiesTime;
    kind = "copies";
    wallSize = -1;
  }

  const spare = bins.total - n;
  const speedTop = new Float64Array(bins.ranks + 1);
  for (let h = 0; h < bins.ranks; h++) speedTop[h + 1] = (speedTop[h] as number) + (fast[h] as number);
  // otherSlots[h]: most slots that the ranks without a heavy expert can have when h ranks hold one.
  const otherSlots = new Int32Array(bins.ranks + 1);
  for (let h = bins.ranks - 1; h >= 0; h--) {
    otherSlots[h] = (otherSlots[h + 1] as number) + (wide[bins.ranks - 1 - h] as number);
  }
  for (let m = 1; m <= Math.min(bins.ranks - 1, n); m++) {
    const most = Math.min(bins.ranks, m + spare);
    let least = Number.POSITIVE_INFINITY;
    for (let h = 1; h <= most; h++) {
      const outside = Math.min(n, m + (otherSlots[h] as number));
      const here = (prefix[m] as number) + all - (prefix[outside] as number);
      const bound = here / (speedTop[h] as number);
      if (bound < least) {
        least = bound;
        if (least <= time) break;
      }
    }
    if (least > time) {
      time = least;
      kind = "companions";
      wallSize = m;
    }
  }

  if (spare === 0) {
    for (let k = 1; k <= (wide[0] as number); k++) {
      let m = 1;
      let fewest = Number.POSITIVE_INFINITY;
      for (let r = 0; r < bins.ranks; r++) {
        const slots = bins.slots[r] as number;
        m += Math.min(slots, k - 1);
        if (slots >= k && slots < fewest) fewest = slots;
      }
      if (m > n) break;
      const heavy = (prefix[m] as number) - (prefix[m - k] as number);
      const light = all - (prefix[n - (fewest - k)] as number);
      const bound = (heavy + (m - k > n - (fewest - k) ? 0 : light)) / (fast[0] as number);
      if (bound > time) {
        time = bound;
        kind = "pigeonhole";
        wallSize = m;
      }
    }
  }
  const wall =
    wallSize >= 0
      ? Array.from(order.subarray(0, wallSize))
      : Array.from(order).filter(
          (e) => (loads[e] as number) / (counts[e] as number) >= largestShare * (1 - 1e-12),
        );
  return { time, ratio: time / mean, kind, wall };
}

/** Least T with sum over ranks of min(speed x T, load of as many of the heaviest experts as the rank has slots) >= all load. */
function capacityTime(bins: Bins, prefix: Float64Array): number {
  const most = (r: number) => prefix[Math.min(bins.slots[r] as number, bins.experts)] as number;
  const fullAt = (r: number) => most(r) / (bins.speed[r] as number);
  let load = prefix[bins.experts] as number;
  let speed = bins.speedSum;
  // Ranks that are full before the others are done, first those that fill first.
  for (const r of Array.from(bins.slots.keys()).sort((a, b) => fullAt(a) - fullAt(b))) {
    if (fullAt(r) * speed >= load) break;
    load -= most(r);
    speed -= bins.speed[r] as number;
  }
  return load / speed;
}

/**
 * B1 with uneven speeds: expert e in c copies needs the c-th fastest rank it stands on to finish load / c in time T, so
 * c x (c-th largest speed) >= load / T. Bisection on T; the lower end stays proven.
 */
function unevenCopies(bins: Bins, loads: Float64Array, fast: Float64Array, from: number): number {
  // reach[c-1]: the most load an expert in at most c copies can have for T = 1.
  const fits = (time: number): boolean => {
    let used = 0;
    for (let e = 0; e < bins.experts; e++) {
      const need = (loads[e] as number) / time;
      let c = 1;
      while (c <= bins.ranks && c * (fast[c - 1] as number) < need) c++;
      if (c > bins.ranks) return false;
      used += c;
      if (used > bins.total) return false;
    }
    return true;
  };
  let low = from;
  if (fits(low)) return low;
  let high = low;
  do high *= 2;
  while (!fits(high));
  for (let i = 0; i < 50; i++) {
    const middle = (low + high) / 2;
    if (fits(middle)) high = middle;
    else low = middle;
  }
  return low;
}
