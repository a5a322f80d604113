import type { Bins } from "./bins.ts";
import type { CurvePoint, LayerMigration } from "./migrate.ts";
import { holds } from "./pack.ts";
import { Standing } from "./standing.ts";

/** Two slots change experts (`b` belongs to another rank), or slot `b` takes a copy of expert `e`. */
type Change =
  | { readonly kind: "exchange"; readonly a: number; readonly b: number }
  | { readonly kind: "copy"; readonly e: number; readonly b: number };

/**
 * Changes `slots` in place until the slowest rank takes at most `target`, one exchange or copy at a time (see `migrateLayer`), then
 * brings back home what may stay there. `before` is where the experts come from; default: where they are.
 * It ends: a change is kept only if every rank that it touches, summed anew, is faster than the slowest was, so that the ranks' times,
 * sorted, fall with every change. What rounding, or an expert twice on a rank, made look better than it is, is taken back.
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
  const now = new Standing(bins, slots, loads);
  let transfers = 0;
  let time = now.time();
  const curve: CurvePoint[] = [{ transfers, time }];
  while (time > target * (1 + 1e-12)) {
    const r = now.slowestRank();
    const change =
      copyChange(now, r, target, time, true) ??
      exchangeChange(now, r, target, time, nodeOf) ??
      copyChange(now, r, target, time, false);
    if (!change) break;
    const cost = change.kind === "copy" ? 1 : 2;
    if (transfers + cost > mostTransfers || !keep(now, change, time)) break;
    transfers += cost;
    time = now.time();
    curve.push({ transfers, time });
  }
  const saved = sendHome(now, before, Math.max(time, target));
  if (saved > 0) {
    const last = curve.pop() as CurvePoint;
    curve.push({ transfers: last.transfers - saved, time: now.time() });
  }
  return { slots, time: now.time(), curve };
}

/** Makes a change; takes it back where a touched rank is not below `time`. */
function keep(now: Standing, change: Change, time: number): boolean {
  const { b } = change;
  const had = now.slots[b] as number;
  const touched = change.kind === "copy" ? now.give(b, change.e) : now.exchange(change.a, b);
  if (touched.every((r) => now.timeOf(r) < time)) return true;
  if (change.kind === "copy") now.give(b, had);
  else now.exchange(change.a, b);
  return false;
}

/** Exchanges that bring moved experts back to a rank they came from while no rank exceeds `limit`; returns the transfers saved. */
function sendHome(now: Standing, before: Int32Array, limit: number): number {
  const { bins, slots, share, load, rankOf } = now;
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
      now.exchange(a, b);
      saved += gain;
      break;
    }
  }
  return saved;
}

/** The exchange for rank r: the tightest that brings it under the target, else the one with the least slower time. */
function exchangeChange(
  now: Standing,
  r: number,
  target: number,
  time: number,
  nodeOf: Int32Array,
): Change | undefined {
  const { bins, slots, share, load } = now;
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
          snug = { kind: "exchange", a, b };
        } else {
          help = slower;
          steep = { kind: "exchange", a, b };
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
  now: Standing,
  r: number,
  target: number,
  time: number,
  complete: boolean,
): Change | undefined {
  const { bins, slots, loads, counts, share, load, rankOf } = now;
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
      const worst = Math.max(atQ, worstHolder(now, e, lessE, f, moreF, q));
      if (worst < best) {
        best = worst;
        found = { kind: "copy", e, b };
      }
    }
  }
  return found;
}

/** Slowest of the holders of e and f, rank q left out, after every holder of e loses `lessE` and every one of f gains `moreF`. */
function worstHolder(
  { bins, holders, load }: Standing,
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
