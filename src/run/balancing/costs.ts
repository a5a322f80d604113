import { layerLoads, layerSlots, loadOfRanks } from "../../experts/index.ts";
import type { BalanceCost } from "../journal/index.ts";
import type { ExpertTopology, WholeStep } from "./types.ts";

/**
 * What the run has shown of its own costs. A row is one token at one expert of one layer.
 *
 * Seconds of a row are a slope, not a ratio: the part of a rank's time that grows with its rows. Ranks of a stage do everything else
 * alike, so within a step the differences between them tell it, free of what the whole machine does at that moment.
 */
export type Costs = {
  /** Newest slopes, one a step and stage; and seconds of experts over rows, which is more than the slope. */
  readonly slopes: readonly number[];
  readonly ratios: readonly number[];
  /** Newest bytes a second that the all-to-all has reached. The best of them is what a move can hope for before one was seen. */
  readonly exchanges: readonly number[];
  readonly move: { readonly bytesPerSecond: number; readonly fixedSeconds: number } | null;
};

export const NO_COSTS: Costs = { slopes: [], ratios: [], exchanges: [], move: null };

const KEPT = 64;
/** Ranks must differ by this share of their mean for a slope to mean something. */
const SPREAD = 0.1;
/** Exchanges of a routed row in one layer: to the expert and back, forward and backward. */
const EXCHANGES = 4;

/** Rows of every rank in a step, [world], as told or as the loads say; then groups of a stage share the tokens evenly. */
export function rowsOfRanks(step: WholeStep, topology: ExpertTopology): Float64Array {
  if (step.rows.every((n) => n >= 0)) return step.rows;
  const rows = new Float64Array(topology.world);
  const perStage = topology.world / topology.pp;
  for (let l = 0; l < step.loads.layers; l++) {
    const ranks = loadOfRanks(step.placement.shape, layerSlots(step.placement, l), layerLoads(step.loads, l));
    const first = (step.stageOf[l] as number) * perStage;
    for (let r = first; r < first + perStage; r++) {
      rows[r] = (rows[r] as number) + (ranks[r % topology.ep] as number) / topology.groups;
    }
  }
  return rows;
}

export function observeStep(costs: Costs, step: WholeStep, topology: ExpertTopology): Costs {
  const rows = rowsOfRanks(step, topology);
  const perStage = topology.world / topology.pp;
  const slopes: number[] = [];
  for (let stage = 0; stage < topology.pp; stage++) {
    const slope = slopeOf(rows, step.busy, stage * perStage, (stage + 1) * perStage);
    if (slope !== undefined) slopes.push(slope);
  }
  const all = rows.reduce((sum, n) => sum + n, 0);
  const spent = step.experts.reduce((sum, n) => sum + n, 0);
  const share = (topology.ep - 1) / topology.ep;
  const reached = rows.reduce((most, n, r) => {
    const bytes = n * share * topology.rowBytes * EXCHANGES;
    const seconds = step.exchange[r] as number;
    return seconds > 0 ? Math.max(most, bytes / seconds) : most;
  }, 0);
  return {
    ...costs,
    slopes: [...costs.slopes, ...slopes].slice(-KEPT),
    ratios: spent > 0 && all > 0 ? [...costs.ratios, spent / all].slice(-KEPT) : costs.ratios,
    exchanges: reached > 0 ? [...costs.exchanges, reached].slice(-KEPT) : costs.exchanges,
  };
}

function slopeOf(rows: Float64Array, busy: Float64Array, from: number, to: number): number | undefined {
  const ranks = Array.from({ length: to - from }, (_, i) => from + i).filter((r) =>
    Number.isFinite(busy[r] as number),
  );
  if (ranks.length < 2) return undefined;
  const mean = (of: Float64Array) => ranks.reduce((sum, r) => sum + (of[r] as number), 0) / ranks.length;
  const x = mean(rows);
  const y = mean(busy);
  let square = 0;
  let cross = 0;
  let most = 0;
  for (const r of ranks) {
    const dx = (rows[r] as number) - x;
    square += dx * dx;
    cross += dx * ((busy[r] as number) - y);
    most = Math.max(most, Math.abs(dx));
  }
  return most > SPREAD * x ? cross / square : undefined;
}

/** A finished move: what its busiest rank sent, and how long it took. */
export function observeMove(costs: Costs, bytes: number, seconds: number): Costs {
  if (!(bytes > 0 && seconds > 0)) return costs;
  const hoped = Math.max(0, ...costs.exchanges);
  // Faster than the all-to-all has shown: then that is the bandwidth. Slower: what is over is paid by every move.
  const move =
    hoped * seconds <= bytes
      ? { bytesPerSecond: bytes / seconds, fixedSeconds: 0 }
      : { bytesPerSecond: hoped, fixedSeconds: seconds - bytes / hoped };
  return { ...costs, move };
}

/** Costs as numbers; nothing before the run has shown what a row costs and how fast bytes travel. */
export function costOf(costs: Costs, topology: ExpertTopology): BalanceCost | undefined {
  const slope = median(costs.slopes) ?? median(costs.ratios);
  const bytesPerSecond = costs.move?.bytesPerSecond ?? Math.max(0, ...costs.exchanges);
  if (slope === undefined || !(slope > 0 && bytesPerSecond > 0)) return undefined;
  return {
    secondsPerRow: slope,
    bytesPerExpert: topology.bytesPerExpert,
    bytesPerSecond,
    fixedSeconds: costs.move?.fixedSeconds ?? 0,
  };
}

export function median(values: readonly number[]): number | undefined {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? sorted[middle]
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}
