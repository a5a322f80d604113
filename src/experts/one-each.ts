import { Random } from "../base/index.ts";
import type { Bins } from "./bins.ts";
import { assign } from "./moves.ts";
import { giveCopy } from "./give-copy.ts";
import { holds } from "./pack.ts";
import { rankLoads } from "./refine.ts";
import { countsOf } from "./search.ts";

/**
 * One slot of each rank may change: which, and what comes there. A rank with load w that gives share s away has room
 * limit - w + s for what it gets, so the chosen slots fit when their shares, sorted, lie below the rooms, sorted. That is what the
 * search looks at: overflow = sum of what the i-th largest share exceeds the i-th largest room by.
 */
type Choice = { readonly slot: Int32Array; readonly overflow: number };

/** Sorted multiset of fixed capacity, largest first. */
class Sorted {
  readonly values: Float64Array;
  size = 0;

  constructor(capacity: number) {
    this.values = new Float64Array(capacity);
  }

  add(value: number): void {
    let at = this.size++;
    for (; at > 0 && (this.values[at - 1] as number) < value; at--)
      this.values[at] = this.values[at - 1] as number;
    this.values[at] = value;
  }

  remove(value: number): void {
    const at = this.values.subarray(0, this.size).indexOf(value);
    this.values.copyWithin(at, at + 1, this.size--);
  }
}

/** Overflow of two multisets of equal size after `share` and `room` are added to them. */
function overflowWith(shares: Sorted, rooms: Sorted, share: number, room: number, most: number): number {
  const { values: s, size } = shares;
  const r = rooms.values;
  let overflow = 0;
  let i = 0;
  let j = 0;
  let shareIn = false;
  let roomIn = false;
  for (let k = 0; k <= size; k++) {
    let a: number;
    if (!shareIn && (i === size || share >= (s[i] as number))) {
      a = share;
      shareIn = true;
    } else a = s[i++] as number;
    let b: number;
    if (!roomIn && (j === size || room >= (r[j] as number))) {
      b = room;
      roomIn = true;
    } else b = r[j++] as number;
    if (a > b) {
      overflow += a - b;
      if (overflow >= most) return overflow;
    }
  }
  return overflow;
}

function overflowOf(shares: Sorted, rooms: Sorted): number {
  let overflow = 0;
  for (let i = 0; i < shares.size; i++) {
    const over = (shares.values[i] as number) - (rooms.values[i] as number);
    if (over > 0) overflow += over;
  }
  return overflow;
}

/**
 * Chooses at most one slot of each rank so that the chosen experts can be dealt out again with every rank at or below `limit` x speed.
 * -1 where a rank is left alone.
 */
function chooseOneEach(
  bins: Bins,
  slots: Int32Array,
  share: Float64Array,
  load: Float64Array,
  limit: number,
  fixed: Int32Array,
): Choice {
  const { ranks, start, speed } = bins;
  const random = new Random(ranks * 31 + bins.total);
  const spare = Float64Array.from(load, (w, r) => limit * (speed[r] as number) - w);
  const shareAt = (s: number) => share[slots[s] as number] as number;
  const shares = new Sorted(ranks);
  const rooms = new Sorted(ranks);
  const slot = new Int32Array(ranks);
  const put = (r: number, s: number) => {
    slot[r] = s;
    if (s < 0) return;
    shares.add(shareAt(s));
    rooms.add((spare[r] as number) + shareAt(s));
  };
  const take = (r: number) => {
    const s = slot[r] as number;
    if (s < 0) return;
    shares.remove(shareAt(s));
    rooms.remove((spare[r] as number) + shareAt(s));
  };
  for (let r = 0; r < ranks; r++) {
    const only = fixed[r] as number;
    put(r, only >= 0 ? only : random.int(start[r] as number, (start[r + 1] as number) - 1));
  }
  const order = Array.from({ length: ranks }, (_, r) => r);
  let overflow = overflowOf(shares, rooms);
  const enough = limit * 1e-9;
  const improve = (most: number): boolean => {
    for (let sweep = 0; sweep < most && overflow > enough; sweep++) {
      let changed = false;
      for (const r of random.shuffle(order)) {
        const old = slot[r] as number;
        if (old < 0 || (fixed[r] as number) >= 0) continue;
        take(r);
        let best = overflow;
        let at = old;
        const first = start[r] as number;
        const width = (start[r + 1] as number) - first;
        const turn = random.int(0, width - 1);
        for (let i = 0; i < width; i++) {
          const s = first + ((i + turn) % width);
          if (s === old) continue;
          const value = overflowWith(shares, rooms, shareAt(s), (spare[r] as number) + shareAt(s), best);
          if (value < best) {
            best = value;
            at = s;
          }
        }
        put(r, at);
        if (at !== old) {
          changed = true;
          overflow = best;
        }
        if (overflow <= enough) return true;
      }
      if (!changed) {
        // Stuck: a few ranks choose anew.
        if (sweep + 1 === most) break;
        for (let k = 0; k < 3; k++) {
          const r = random.int(0, ranks - 1);
          if ((slot[r] as number) < 0 || (fixed[r] as number) >= 0) continue;
          take(r);
          put(r, random.int(start[r] as number, (start[r + 1] as number) - 1));
        }
        overflow = overflowOf(shares, rooms);
      }
    }
    return overflow <= enough;
  };
  if (!improve(SWEEPS)) return { slot, overflow };
  // Leave alone what can be left alone, the ranks with least room first.
  const idle = order.filter((r) => (spare[r] as number) >= 0 && (fixed[r] as number) < 0);
  idle.sort((a, b) => (spare[a] as number) - (spare[b] as number) || a - b);
  let misses = 0;
  for (const r of idle) {
    const keep = slot.slice();
    take(r);
    slot[r] = -1;
    overflow = overflowOf(shares, rooms);
    if (improve(8)) continue;
    for (let q = 0; q < ranks; q++) {
      if (slot[q] === keep[q]) continue;
      take(q);
      put(q, keep[q] as number);
    }
    overflow = 0;
    if (++misses >= 3) break;
  }
  return { slot, overflow: overflowOf(shares, rooms) };
}

/** Sweeps over all ranks in search of slots that fit. */
const SWEEPS = 12;

/**
 * A placement of which each rank has at most one slot that is not as before, with every rank at or below `limit` x speed, or little
 * above: `copies` spare copies go to other experts first, then the chosen slots' experts are dealt anew, as few as possible of them to
 * another rank or node (assignment of least cost).
 */
export function dealOneEach(
  bins: Bins,
  before: Int32Array,
  loads: Float64Array,
  limit: number,
  copies: number,
  nodeOf: Int32Array,
): Int32Array {
  const out = before.slice();
  const counts = countsOf(bins, out);
  const share = Float64Array.from(loads, (w, e) => w / (counts[e] as number));
  const load = new Float64Array(bins.ranks);
  const fixed = new Int32Array(bins.ranks).fill(-1);
  for (let i = 0; i < copies; i++) {
    rankLoads(bins, share, out, load);
    if (!giveCopy(bins, out, loads, counts, share, load, fixed, limit)) break;
  }
  rankLoads(bins, share, out, load);
  const { slot } = chooseOneEach(bins, out, share, load, limit, fixed);
  const pool = Array.from(slot.keys()).filter((r) => (slot[r] as number) >= 0);
  const items = pool.map((r) => out[slot[r] as number] as number);
  const held = before.slice();
  const nodesOf = Array.from({ length: bins.experts }, () => new Set<number>());
  for (let r = 0; r < bins.ranks; r++) {
    for (let s = bins.start[r] as number; s < (bins.start[r + 1] as number); s++)
      nodesOf[held[s] as number]?.add(nodeOf[r] as number);
  }
  const value = (i: number, j: number): number => {
    const r = pool[i] as number;
    const e = items[j] as number;
    const at = slot[r] as number;
    for (let s = bins.start[r] as number; s < (bins.start[r + 1] as number); s++)
      if (s !== at && out[s] === e) return -1e9;
    const after = (load[r] as number) - (share[out[at] as number] as number) + (share[e] as number);
    const over = Math.max(0, after / (limit * (bins.speed[r] as number)) - 1 - 1e-12);
    const sent = holds(bins, before, r, e) ? 0 : nodesOf[e]?.has(nodeOf[r] as number) ? 1 : 2;
    return -1e4 * over - sent;
  };
  const dealt = assign(pool.length, value);
  const twice = dealt.some((j, i) => value(i, j) <= -1e9);
  if (!twice)
    dealt.forEach((j, i) => {
      out[slot[pool[i] as number] as number] = items[j] as number;
    });
  return out;
}
