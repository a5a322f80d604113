import type { Bins } from "./bins.ts";
import type { CurvePoint, LayerMigration } from "./migrate.ts";
import { holds } from "./pack.ts";
import { rankLoads, slowest } from "./refine.ts";
import { countsOf } from "./search.ts";

type Change = {
  readonly kind: "exchange" | "copy";
  readonly a: number;
  readonly b: number;
  readonly q: number;
};

/**
 * Changes `slots` in place until the slowest rank takes at most `target`, one exchange or copy at a time (see `migrateLayer`), then
 * brings back home what may stay there. `before` is where the experts come from; default: where they are.
 */
export function migrateStepwise(
  bins: Bins,
  slots: Int32Array,
  loads: Float64Array,
  target: number,
  mostTransfers: number,
  nodeOf: Int32Array,
  before: Int32Array = slots.slice(),
): LayerMigration {
  const counts = countsOf(bins, slots);
  const share = new Float64Array(bins.experts);
  for (let e = 0; e < bins.experts; e++)
    if (counts[e]) share[e] = (loads[e] as number) / (counts[e] as number);
  const load = new Float64Array(bins.ranks);
  rankLoads(bins, share, slots, load);
  const rankOf = new Int32Array(bins.total);
  for (let r = 0; r < bins.ranks; r++) rankOf.fill(r, bins.start[r], bins.start[r + 1]);
  const holders: number[][] = Array.from({ length: bins.experts }, () => []);
  for (let s = 0; s < bins.total; s++) (holders[slots[s] as number] as number[]).push(rankOf[s] as number);
  const replace = (e: number, from: number, to: number) => {
    const ranks = holders[e] as number[];
    ranks[ranks.indexOf(from)] = to;
  };
  let transfers = 0;
  let time = slowest(bins, load);
  const curve: CurvePoint[] = [{ transfers, time }];
  while (time > target * (1 + 1e-12)) {
    let r = 0;
    for (let q = 1; q < bins.ranks; q++) {
      if ((load[q] as number) / (bins.speed[q] as number) > (load[r] as number) / (bins.speed[r] as number))
        r = q;
    }
    const change =
      copyChange(bins, slots, loads, counts, share, load, r, target, time, true, holders, rankOf) ??
      exchangeChange(bins, slots, share, load, r, target, time, nodeOf) ??
      copyChange(bins, slots, loads, counts, share, load, r, target, time, false, holders, rankOf);
    if (!change) break;
    const cost = change.kind === "copy" ? 1 : 2;
    if (transfers + cost > mostTransfers) break;
    transfers += cost;
    if (change.kind === "exchange") {
      const e = slots[change.a] as number;
      slots[change.a] = slots[change.b] as number;
      slots[change.b] = e;
      const q = change.q;
      const moved = (share[e] as number) - (share[slots[change.a] as number] as number);
      load[r] = (load[r] as number) - moved;
      load[q] = (load[q] as number) + moved;
      replace(e, r, q);
      replace(slots[change.a] as number, q, r);
    } else {
      const f = slots[change.b] as number;
      slots[change.b] = change.a;
      (holders[change.a] as number[]).push(change.q);
      holders[f] = (holders[f] as number[]).filter((rank) => rank !== change.q);
      for (const [expert, by] of [
        [change.a, 1],
        [f, -1],
      ] as const) {
        counts[expert] = (counts[expert] as number) + by;
        share[expert] = (loads[expert] as number) / (counts[expert] as number);
      }
      rankLoads(bins, share, slots, load);
    }
    time = slowest(bins, load);
    curve.push({ transfers, time });
  }
  const saved = sendHome(bins, slots, before, share, load, rankOf, Math.max(time, target));
  if (saved > 0) {
    const last = curve.pop() as CurvePoint;
    curve.push({ transfers: last.transfers - saved, time: slowest(bins, load) });
  }
  return { slots, time: slowest(bins, load), curve };
}

/** Exchanges that bring moved experts back to a rank they came from while no rank exceeds `limit`; returns the transfers saved. */
function sendHome(
  bins: Bins,
  slots: Int32Array,
  before: Int32Array,
  share: Float64Array,
  load: Float64Array,
  rankOf: Int32Array,
  limit: number,
): number {
  let saved = 0;
  for (let a = 0; a < bins.total; a++) {
    const x = slots[a] as number;
    const r = rankOf[a] as number;
    if (holds(bins, before, r, x)) continue;
    for (let b = 0; b < bins.total; b++) {
      const q = rankOf[b] as number;
      const y = slots[b] as number;
      if (q === r || holds(bins, slots, q, x) || holds(bins, slots, r, y)) continue;
      const atHome = (rank: number, expert: number) => (holds(bins, before, rank, expert) ? 1 : 0);
      const gain = atHome(q, x) + atHome(r, y) - atHome(q, y);
      if (gain <= 0) continue;
      const moved = (share[x] as number) - (share[y] as number);
      if ((load[r] as number) - moved > limit * (bins.speed[r] as number)) continue;
      if ((load[q] as number) + moved > limit * (bins.speed[q] as number)) continue;
      slots[a] = y;
      slots[b] = x;
      load[r] = (load[r] as number) - moved;
      load[q] = (load[q] as number) + moved;
      saved += gain;
      break;
    }
  }
  return saved;
}

/** The exchange for rank r: the tightest that brings it under the target, else the one with the least slower time. */
function exchangeChange(
  bins: Bins,
  slots: Int32Array,
  share: Float64Array,
  load: Float64Array,
  r: number,
  target: number,
  time: number,
  nodeOf: Int32Array,
): Change | undefined {
  const loadR = load[r] as number;
  const speedR = bins.speed[r] as number;
  const need = loadR - target * speedR;
  // A partner over the network has to fit better by this much to be preferred to one on the same node.
  const far = 0.002 * target * speedR;
  let fit = Number.POSITIVE_INFINITY;
  let help = time * (1 - 1e-9);
  let snug: Change | undefined;
  let steep: Change | undefined;
  for (let q = 0; q < bins.ranks; q++) {
    if (q === r) continue;
    const loadQ = load[q] as number;
    const speedQ = bins.speed[q] as number;
    const room = target * speedQ - loadQ;
    const penalty = nodeOf[q] === nodeOf[r] ? 0 : far;
    for (let a = bins.start[r] as number; a < (bins.start[r + 1] as number); a++) {
      const e = slots[a] as number;
      const shareA = share[e] as number;
      for (let b = bins.start[q] as number; b < (bins.start[q + 1] as number); b++) {
        const f = slots[b] as number;
        const moved = shareA - (share[f] as number);
        if (moved <= 0) continue;
        const complete = moved >= need && moved <= room;
        if (complete ? moved - need + penalty >= fit : fit < Number.POSITIVE_INFINITY) continue;
        const timeR = (loadR - moved) / speedR;
        const timeQ = (loadQ + moved) / speedQ;
        const slower = timeR > timeQ ? timeR : timeQ;
        if (!complete && slower >= help) continue;
        if (holds(bins, slots, q, e) || holds(bins, slots, r, f)) continue;
        if (complete) {
          fit = moved - need + penalty;
          snug = { kind: "exchange", a, b, q };
        } else {
          help = slower;
          steep = { kind: "exchange", a, b, q };
        }
      }
    }
  }
  return snug ?? steep;
}

/**
 * One more copy of an expert of rank r instead of a spare copy elsewhere. `complete`: only if every touched rank ends under the target;
 * else the one whose touched ranks end slowest-least, below the present slowest time.
 */
function copyChange(
  bins: Bins,
  slots: Int32Array,
  loads: Float64Array,
  counts: Int32Array,
  share: Float64Array,
  load: Float64Array,
  r: number,
  target: number,
  time: number,
  complete: boolean,
  holders: readonly (readonly number[])[],
  rankOf: Int32Array,
): Change | undefined {
  let best = complete ? target * (1 + 1e-12) : time * (1 - 1e-9);
  let found: Change | undefined;
  const spares: number[] = [];
  for (let b = 0; b < bins.total; b++) if ((counts[slots[b] as number] as number) > 1) spares.push(b);
  for (let a = bins.start[r] as number; a < (bins.start[r + 1] as number); a++) {
    const e = slots[a] as number;
    const lessE = (share[e] as number) - (loads[e] as number) / ((counts[e] as number) + 1);
    if (((load[r] as number) - lessE) / (bins.speed[r] as number) > best) continue;
    for (const b of spares) {
      const f = slots[b] as number;
      const q = rankOf[b] as number;
      if (f === e || q === r || holds(bins, slots, q, e)) continue;
      const moreF = (loads[f] as number) / ((counts[f] as number) - 1) - (share[f] as number);
      const atQ =
        ((load[q] as number) + (share[e] as number) - lessE - (share[f] as number)) /
        (bins.speed[q] as number);
      if (atQ >= best) continue;
      const worst = Math.max(atQ, worstHolder(bins, holders, load, e, lessE, f, moreF, q));
      if (worst < best) {
        best = worst;
        found = { kind: "copy", a: e, b, q };
      }
    }
  }
  return found;
}

/** Slowest of the holders of e and f, rank q left out, after every holder of e loses `lessE` and every one of f gains `moreF`. */
function worstHolder(
  bins: Bins,
  holders: readonly (readonly number[])[],
  load: Float64Array,
  e: number,
  lessE: number,
  f: number,
  moreF: number,
  q: number,
): number {
  const ofE = holders[e] as readonly number[];
  const ofF = holders[f] as readonly number[];
  let worst = 0;
  for (const r of ofE) {
    const after = (load[r] as number) - lessE + (ofF.includes(r) ? moreF : 0);
    worst = Math.max(worst, after / (bins.speed[r] as number));
  }
  for (const r of ofF) {
    if (r === q || ofE.includes(r)) continue;
    worst = Math.max(worst, ((load[r] as number) + moreF) / (bins.speed[r] as number));
  }
  return worst;
}
