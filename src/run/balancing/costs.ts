import {
  fitMoveCost,
  layerLoads,
  layerSlots,
  loadOfRanks,
  type MoveCost,
  type MoveSample,
  secondsOfMove,
} from "../../experts/index.ts";
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
  /** Newest bytes a second that the all-to-all has reached: what a move can hope for before one was rehearsed. */
  readonly exchanges: readonly number[];
  /** The newest rehearsal, and logarithms of real moves' seconds over what the rehearsal alone says. */
  readonly rehearsal: readonly MoveSample[];
  readonly surprises: readonly number[];
};

export const NO_COSTS: Costs = { slopes: [], ratios: [], exchanges: [], rehearsal: [], surprises: [] };

const KEPT = 64;
const KEPT_MOVES = 8;
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

/** Takes a step in. `speeds` [ep]: busy times become those of a rank of speed 1 before they are compared. */
export function observeStep(
  costs: Costs,
  step: WholeStep,
  topology: ExpertTopology,
  speeds: readonly number[] | undefined,
): Costs {
  const rows = rowsOfRanks(step, topology);
  const busy = step.busy.map((seconds, r) => seconds * (speeds?.[r % topology.ep] ?? 1));
  const perStage = topology.world / topology.pp;
  const slopes: number[] = [];
  for (let stage = 0; stage < topology.pp; stage++) {
    const slope = slopeOf(rows, busy, stage * perStage, (stage + 1) * perStage);
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

/** What the rehearsal says of moves, or what the all-to-all lets hope; nothing before either. */
function movesOf({ rehearsal, exchanges }: Costs): MoveCost | undefined {
  const fit = fitMoveCost(rehearsal);
  if (fit) return fit;
  const hoped = Math.max(0, ...exchanges);
  // One value, of another kind of message: off by a factor of e at one standard deviation.
  return hoped > 0 ? { fixedSeconds: 0, layerSeconds: 0, secondsPerByte: 1 / hoped, spread: 1 } : undefined;
}

/** A finished move: layers, bytes that its busiest rank sent, how long it took. */
export function observeMove(costs: Costs, { layers, bytes, seconds }: MoveSample): Costs {
  const known = movesOf(costs);
  if (!known || !(bytes > 0 && seconds > 0)) return costs;
  const surprise = Math.log(seconds / secondsOfMove(known, layers, bytes));
  return { ...costs, surprises: [...costs.surprises, surprise].slice(-KEPT_MOVES) };
}

/** The rehearsal of this attempt's ranks; what earlier moves taught about one stays true of the next only if there was one. */
export function observeRehearsal(costs: Costs, rehearsal: readonly MoveSample[]): Costs {
  return { ...costs, rehearsal, surprises: costs.rehearsal.length > 0 ? costs.surprises : [] };
}

/** Costs as numbers; nothing before the run has shown what a row costs and how fast bytes travel. */
export function costOf(costs: Costs, topology: ExpertTopology): BalanceCost | undefined {
  const tokens = costs.slopes.length > 0 ? costs.slopes : costs.ratios;
  const secondsPerRow = median(tokens);
  const known = movesOf(costs);
  if (secondsPerRow === undefined || !(secondsPerRow > 0) || !known) return undefined;
  // Each real move counts as much as the rehearsal.
  const { surprises } = costs;
  const n = surprises.length + 1;
  const mean = surprises.reduce((sum, value) => sum + value, 0) / n;
  const square = surprises.reduce((sum, value) => sum + (value - mean) ** 2, known.spread ** 2 + mean ** 2);
  const off = median(tokens.map((value) => Math.abs(value - secondsPerRow))) ?? 0;
  const factor = Math.exp(mean);
  return {
    secondsPerRow,
    bytesPerExpert: topology.bytesPerExpert,
    // A rehearsal whose seconds do not grow with its bytes says that bytes are free beside the rest.
    bytesPerSecond: 1 / Math.max(known.secondsPerByte * factor, 1e-15),
    fixedSeconds: known.fixedSeconds * factor,
    layerSeconds: known.layerSeconds * factor,
    spread: {
      // 1.48: median absolute deviation to standard deviation; 1.25: standard error of a median over that of a mean.
      token: (1.4826 * 1.2533 * off) / secondsPerRow / Math.sqrt(tokens.length),
      move: Math.sqrt(square / n),
    },
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
