import { Random } from "../base/index.ts";
import type { Bins } from "./bins.ts";
import { holds, type Packer } from "./pack.ts";
import { exchange, rankLoads, slowest } from "./refine.ts";

/** Shares of the bound that copies are cut to when the plain rule leaves heavy copies no light companions. */
const CUTS = [0.995, 0.97, 0.94, 0.9, 0.86, 0.82, 0.77, 0.72, 0.66, 0.6, 0.55, 0.5, 0.45, 0.4, 0.33];
/** Most cuts of one layer that are refined by exchanges, the best packings first. */
const MOST_REFINED = 6;

/** What helped the layer before: layers of one model are alike, so it is tried first. */
export type Memory = { cut: Cut | undefined; missed: boolean };
type Cut = { readonly share: number; readonly heaviestFirst: boolean };

/**
 * Second attempts at a layer that plain packing left above its goal. Every attempt keeps the best packing in `slots`.
 * @param order experts from the heaviest down
 * @returns the slowest time of the best packing
 */
export function searchHarder(
  packer: Packer,
  memory: Memory,
  loads: Float64Array,
  order: Int32Array,
  slots: Int32Array,
  time: number,
  bound: number,
  goal: number,
): number {
  const bins = packer.bins;
  const best = { slots, time };
  if (bins.total > bins.experts) cutCopies(packer, memory, loads, order, best, bound, goal);
  if (best.time > goal && bins.total > bins.experts) tryAllCopies(packer, loads, best, goal);
  if (best.time > goal) restart(packer, loads, best, bound, goal);
  return best.time;
}

/** The cut that helped the layer before, tried before anything else; Infinity where it does not reach the goal. */
export function tryRemembered(
  packer: Packer,
  memory: Memory,
  loads: Float64Array,
  order: Int32Array,
  slots: Int32Array,
  bound: number,
  goal: number,
): number {
  if (!memory.cut) return Number.POSITIVE_INFINITY;
  const best = { slots, time: Number.POSITIVE_INFINITY };
  const { refined } = cutter(packer, loads, order, best, bound, goal);
  memory.missed = !refined(memory.cut);
  return memory.missed ? Number.POSITIVE_INFINITY : best.time;
}

type Best = { readonly slots: Int32Array; time: number };

/**
 * Copies just enough for a cut; what is left over goes to the lightest experts, which makes light companions. `packed` gives the slowest
 * time of a cut's packing, `refined` whether exchanges bring it to the goal.
 */
function cutter(
  packer: Packer,
  loads: Float64Array,
  order: Int32Array,
  best: Best,
  bound: number,
  goal: number,
): { packed: (cut: Cut) => number; refined: (cut: Cut) => boolean } {
  const { bins } = packer;
  const unit = bound * Math.max(...bins.speed);
  const trial = new Int32Array(bins.total);
  const load = new Float64Array(bins.ranks);
  const packed = (cut: Cut): number => {
    const counts = countsFor(bins, loads, order, cut.share * unit);
    if (!counts) return Number.POSITIVE_INFINITY;
    if (!packer.tryCounts(loads, counts, trial, cut.heaviestFirst)) return Number.POSITIVE_INFINITY;
    rankLoads(bins, packer.share, trial, load);
    return slowest(bins, load);
  };
  const refined = (cut: Cut): boolean => {
    if (packed(cut) === Number.POSITIVE_INFINITY) return false;
    const time = exchange(bins, packer.share, trial, load, goal, 4 * bins.total);
    if (time < best.time) {
      best.time = time;
      best.slots.set(trial);
    }
    return time <= goal;
  };
  return { packed, refined };
}

/** All cuts are packed, the best packings are refined; the cut that reaches the goal is remembered. */
function cutCopies(
  packer: Packer,
  memory: Memory,
  loads: Float64Array,
  order: Int32Array,
  best: Best,
  bound: number,
  goal: number,
): void {
  const { packed, refined } = cutter(packer, loads, order, best, bound, goal);
  if (memory.cut && !memory.missed && refined(memory.cut)) return;
  memory.missed = memory.cut !== undefined;
  const cuts = CUTS.flatMap((share) =>
    (packer.bins.even ? [false, true] : [true]).map((heaviestFirst) => ({ share, heaviestFirst })),
  );
  const first = cuts.map((cut) => ({ cut, time: packed(cut) })).sort((a, b) => a.time - b.time);
  for (const { cut } of first.slice(0, MOST_REFINED)) {
    if (!refined(cut)) continue;
    memory.cut = cut;
    memory.missed = false;
    return;
  }
}

/** Most ways to share out spare copies that are all tried. */
const MOST_WAYS = 2000;

/** Small layers: every number of copies whose shares are below the best time so far, each packed and refined. */
function tryAllCopies(packer: Packer, loads: Float64Array, best: Best, goal: number): void {
  const { bins } = packer;
  const top = Math.max(...bins.speed);
  const least = Array.from(loads, (w) => Math.max(1, Math.ceil(w / (best.time * top) - 1e-9)));
  const spare = bins.total - least.reduce((sum, c) => sum + c, 0);
  let ways = 1;
  for (let i = 1; i <= spare && ways <= MOST_WAYS; i++) ways = (ways * (bins.experts - 1 + i)) / i;
  if (spare < 0 || ways > MOST_WAYS) return;
  const counts = Int32Array.from(least);
  const trial = new Int32Array(bins.total);
  const load = new Float64Array(bins.ranks);
  const share = (e: number, left: number): void => {
    if (best.time <= goal) return;
    if (e === bins.experts - 1) {
      counts[e] = (least[e] as number) + left;
      if ((counts[e] as number) > bins.ranks) return;
      packer.packCounts(loads, counts, trial);
      rankLoads(bins, packer.share, trial, load);
      const time = exchange(bins, packer.share, trial, load, goal, 4 * bins.total);
      if (time < best.time) {
        best.time = time;
        best.slots.set(trial);
      }
      return;
    }
    for (let more = 0; more <= left && (least[e] as number) + more <= bins.ranks; more++) {
      counts[e] = (least[e] as number) + more;
      share(e + 1, left - more);
    }
    counts[e] = least[e] as number;
  };
  share(0, spare);
}

/** Least copies that keep every share at or below `most`, the spare ones on the lightest experts; undefined if too many. */
function countsFor(bins: Bins, loads: Float64Array, order: Int32Array, most: number): Int32Array | undefined {
  const counts = new Int32Array(bins.experts);
  let spare = bins.total;
  for (let e = 0; e < bins.experts; e++) {
    counts[e] = Math.min(bins.ranks, Math.max(1, Math.ceil((loads[e] as number) / most)));
    spare -= counts[e] as number;
  }
  if (spare < 0) return undefined;
  for (let i = bins.experts - 1; i >= 0 && spare > 0; i--) {
    const e = order[i] as number;
    const more = Math.min(spare, bins.ranks - (counts[e] as number));
    counts[e] = (counts[e] as number) + more;
    spare -= more;
  }
  return counts;
}

/**
 * Seeded local search with kicks, in a budget that shrinks with the layer's size: small layers end at or next to their optimum,
 * large ones, whose packing is already within the goal as a rule, spend little.
 */
function restart(packer: Packer, loads: Float64Array, best: Best, bound: number, goal: number): void {
  const { bins } = packer;
  const random = new Random(bins.total * 31 + bins.ranks);
  const kicks = Math.min(600, Math.round(600_000 / bins.total ** 2) * 4);
  const copies = bins.total > bins.experts;
  const counts = countsOf(bins, best.slots);
  const share = new Float64Array(bins.experts);
  const load = new Float64Array(bins.ranks);
  const slots = best.slots.slice();
  let time = best.time;
  for (let kick = 0; kick < kicks && best.time > Math.min(goal, bound * (1 + 1e-12)); kick++) {
    const trial = slots.slice();
    let trialCounts = counts;
    if (copies && kick % 2 === 0) {
      trialCounts = counts.slice();
      for (let k = random.int(1, 3); k > 0; k--) moveCopy(bins, trialCounts, random);
      packer.packCounts(loads, trialCounts, trial);
      trialCounts.set(packer.counts);
    } else {
      for (let k = random.int(1, 3); k > 0; k--) swapAny(bins, trial, random);
    }
    for (let e = 0; e < bins.experts; e++) share[e] = (loads[e] as number) / (trialCounts[e] as number);
    rankLoads(bins, share, trial, load);
    exchange(bins, share, trial, load, goal, 4 * bins.total);
    const trialTime = slowest(bins, load);
    // Equal is accepted: plateaus are wide where one pair of experts makes the slowest rank.
    if (trialTime <= time * (kick % 7 === 0 ? 1.03 : 1)) {
      time = trialTime;
      slots.set(trial);
      counts.set(trialCounts);
    }
    if (trialTime < best.time) {
      best.time = trialTime;
      best.slots.set(trial);
    } else if (kick % 50 === 49) {
      time = best.time;
      slots.set(best.slots);
      counts.set(countsOf(bins, slots));
    }
  }
}

/** Copies of each expert in a packing. */
export function countsOf(bins: Bins, slots: Int32Array): Int32Array {
  const counts = new Int32Array(bins.experts);
  for (let s = 0; s < bins.total; s++) {
    const e = slots[s] as number;
    counts[e] = (counts[e] as number) + 1;
  }
  return counts;
}

function moveCopy(bins: Bins, counts: Int32Array, random: Random): void {
  for (let tries = 0; tries < 40; tries++) {
    const from = random.int(0, bins.experts - 1);
    const to = random.int(0, bins.experts - 1);
    if (from === to || (counts[from] as number) < 2 || (counts[to] as number) >= bins.ranks) continue;
    counts[from] = (counts[from] as number) - 1;
    counts[to] = (counts[to] as number) + 1;
    return;
  }
}

function swapAny(bins: Bins, slots: Int32Array, random: Random): void {
  if (bins.ranks < 2) return;
  const r = random.int(0, bins.ranks - 1);
  const q = (r + random.int(1, bins.ranks - 1)) % bins.ranks;
  const a = random.int(bins.start[r] as number, (bins.start[r + 1] as number) - 1);
  const b = random.int(bins.start[q] as number, (bins.start[q + 1] as number) - 1);
  const e = slots[a] as number;
  const f = slots[b] as number;
  if (e === f || holds(bins, slots, q, e) || holds(bins, slots, r, f)) return;
  slots[a] = f;
  slots[b] = e;
}
