import type { Bins } from "./bins.ts";
import { holds } from "./pack.ts";

/** Load of each rank: the sum of its slots' shares. */
export function rankLoads(bins: Bins, share: Float64Array, slots: Int32Array, out: Float64Array): void {
  for (let r = 0; r < bins.ranks; r++) {
    let sum = 0;
    for (let s = bins.start[r] as number; s < (bins.start[r + 1] as number); s++) {
      sum += share[slots[s] as number] as number;
    }
    out[r] = sum;
  }
}

/** Time of the slowest rank: largest load / speed. */
export function slowest(bins: Bins, load: Float64Array): number {
  let most = 0;
  for (let r = 0; r < bins.ranks; r++) {
    const time = (load[r] as number) / (bins.speed[r] as number);
    if (time > most) most = time;
  }
  return most;
}

/**
 * Exchanges slots between the slowest rank and others while that lowers the slower of the two, until the slowest is at most
 * `goal` or nothing helps. `load` is kept up to date. Returns the slowest time. Each exchange costs O(R) at worst; partners whose
 * mean with the slowest rank cannot beat what is found are skipped.
 */
export function exchange(
  bins: Bins,
  share: Float64Array,
  slots: Int32Array,
  load: Float64Array,
  goal: number,
  mostExchanges: number,
): number {
  const { ranks, speed, start } = bins;
  const copies = bins.total > bins.experts;
  for (let done = 0; ; done++) {
    let r = 0;
    let low = 0;
    let time = -1;
    let lowTime = Number.POSITIVE_INFINITY;
    for (let q = 0; q < ranks; q++) {
      const t = (load[q] as number) / (speed[q] as number);
      if (t > time) {
        time = t;
        r = q;
      }
      if (t < lowTime) {
        lowTime = t;
        low = q;
      }
    }
    if (time <= goal || done >= mostExchanges) return time;
    const from = start[r] as number;
    const to = start[r + 1] as number;
    const loadR = load[r] as number;
    const speedR = speed[r] as number;
    let best = time * (1 - 1e-12);
    let slotA = -1;
    let slotB = -1;
    let partner = -1;
    // The lightest rank first: it most often has the best exchange, and what it gives prunes the others.
    for (let k = -1; k < ranks && best > goal; k++) {
      const q = k < 0 ? low : k;
      if (q === r || (k === low && k >= 0)) continue;
      const loadQ = load[q] as number;
      const speedQ = speed[q] as number;
      if ((loadR + loadQ) / (speedR + speedQ) >= best) continue;
      for (let a = from; a < to; a++) {
        const e = slots[a] as number;
        const shareA = share[e] as number;
        for (let b = start[q] as number; b < (start[q + 1] as number); b++) {
          const f = slots[b] as number;
          const moved = shareA - (share[f] as number);
          if (moved <= 0) continue;
          const timeR = (loadR - moved) / speedR;
          const timeQ = (loadQ + moved) / speedQ;
          const worse = timeR > timeQ ? timeR : timeQ;
          if (worse >= best) continue;
          if (copies && (holds(bins, slots, q, e) || holds(bins, slots, r, f))) continue;
          best = worse;
          slotA = a;
          slotB = b;
          partner = q;
        }
      }
    }
    if (partner < 0) return time;
    const e = slots[slotA] as number;
    const f = slots[slotB] as number;
    slots[slotA] = f;
    slots[slotB] = e;
    const moved = (share[e] as number) - (share[f] as number);
    load[r] = loadR - moved;
    load[partner] = (load[partner] as number) + moved;
  }
}
