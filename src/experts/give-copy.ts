import type { Bins } from "./bins.ts";

/** A copy is given away only if that spares this much of the mean excess of an overloaded rank: a transfer does as much. */
const WORTH = 1;

/**
 * One more copy of an expert instead of a spare one of another: the change that lowers the sum of what ranks have above the limit most,
 * if by more than a transfer lowers it in the mean.
 */
export function giveCopy(
  bins: Bins,
  slots: Int32Array,
  loads: Float64Array,
  counts: Int32Array,
  share: Float64Array,
  load: Float64Array,
  fixed: Int32Array,
  limit: number,
): boolean {
  const { ranks, speed, start } = bins;
  const over = Float64Array.from(load, (w, r) => w - limit * (speed[r] as number));
  const holders: number[][] = Array.from({ length: bins.experts }, () => []);
  for (let r = 0; r < ranks; r++) {
    for (let s = start[r] as number; s < (start[r + 1] as number); s++)
      (holders[slots[s] as number] as number[]).push(r);
  }
  const above = over.filter((w) => w > 0);
  if (above.length === 0) return false;
  let best = (WORTH * above.reduce((sum, w) => sum + w, 0)) / above.length;
  let found: { e: number; f: number; q: number } | undefined;
  // What the holders of e can lose at most bounds the gain: the largest first, and no further than the bound allows.
  const givers: { e: number; lessE: number; most: number }[] = [];
  for (let e = 0; e < bins.experts; e++) {
    const lessE = (share[e] as number) / ((counts[e] as number) + 1);
    let most = 0;
    for (const r of holders[e] as number[]) most += relief(over[r] as number, -lessE);
    if (most > 0) givers.push({ e, lessE, most });
  }
  givers.sort((x, y) => y.most - x.most || x.e - y.e);
  const change = new Float64Array(ranks);
  for (let f = 0; f < bins.experts; f++) {
    if ((counts[f] as number) < 2) continue;
    const ofF = holders[f] as number[];
    const shareF = share[f] as number;
    const moreF = shareF / ((counts[f] as number) - 1);
    for (const r of ofF) change[r] = moreF;
    let loss = 0;
    let extra = 0;
    for (const r of ofF) {
      const alone = relief(over[r] as number, moreF);
      loss += alone;
      extra = Math.max(extra, relief(over[r] as number, -shareF) - alone);
    }
    for (const { e, lessE, most } of givers) {
      if (most + loss + extra <= best) break;
      if (e === f) continue;
      const ofE = holders[e] as number[];
      let gain = loss;
      for (const r of ofE) {
        const here = change[r] as number;
        gain += relief(over[r] as number, here - lessE) - (here > 0 ? relief(over[r] as number, here) : 0);
      }
      const atQ = (share[e] as number) - lessE - shareF;
      for (const q of ofF) {
        if ((fixed[q] as number) >= 0 || ofE.includes(q)) continue;
        const value = gain - relief(over[q] as number, moreF) + relief(over[q] as number, atQ);
        if (value > best) {
          best = value;
          found = { e, f, q };
        }
      }
    }
    for (const r of ofF) change[r] = 0;
  }
  if (!found) return false;
  const { e, f, q } = found;
  const at = slots.subarray(start[q], start[q + 1]).indexOf(f) + (start[q] as number);
  slots[at] = e;
  fixed[q] = at;
  for (const [x, by] of [
    [e, 1],
    [f, -1],
  ] as const) {
    counts[x] = (counts[x] as number) + by;
    share[x] = (loads[x] as number) / (counts[x] as number);
  }
  return true;
}

/** What a rank's excess shrinks by when its load changes. */
const relief = (over: number, change: number): number => Math.max(0, over) - Math.max(0, over + change);
