import { layerLoads, layerSlots, maxOverMean } from "../../experts/index.ts";
import type { BalanceSide, NewEvent } from "../journal/index.ts";
import { median } from "./costs.ts";
import type { ExpertTopology, WholeStep } from "./types.ts";

type Gain = Omit<Extract<NewEvent, { kind: "balanceGain" }>, "kind" | "id" | "attempt" | "step">;

/**
 * Seconds of each step by whose fall a gain is told. A placement changes how long ranks wait for the busiest one, and nothing else of
 * what they compute, so on one pipeline stage it is the time in the all-to-all (mean over ranks): what the machine does to all ranks
 * alike drops out. With several stages waiting is spread over other messages too, and the clock of the step is all there is.
 */
export function tellingSeconds(steps: readonly WholeStep[], { pp }: ExpertTopology): number[] {
  const waits = steps.map(exchanged);
  return pp === 1 && waits.every(Number.isFinite) ? waits : steps.map((one) => one.seconds);
}

/**
 * What a move brought, from the steps before and after it. `moveSeconds`: as the ranks timed it; the boundary that it stopped says
 * better what was felt.
 */
export function gainOf(
  before: readonly WholeStep[],
  after: readonly WholeStep[],
  topology: ExpertTopology,
  moveSeconds: number,
): Gain | undefined {
  const [first, ...rest] = after;
  if (!first || rest.length === 0 || before.length === 0) return undefined;
  const left = side(before);
  const right = side(rest);
  const times = tellingSeconds([...before, ...rest], topology);
  const saved = (median(times.slice(0, before.length)) ?? 0) - (median(times.slice(before.length)) ?? 0);
  const usual = median(rest.map((one) => one.boundarySeconds).filter(Number.isFinite)) ?? 0;
  const felt = first.boundarySeconds - usual;
  const seconds = felt > 0 ? felt : moveSeconds;
  return {
    before: left,
    after: right,
    savedSecondsPerStep: saved,
    moveSeconds: seconds,
    paybackSteps: saved > 0 ? seconds / saved : null,
  };
}

function exchanged({ exchange }: WholeStep): number {
  const told = exchange.filter(Number.isFinite);
  return told.length === 0 ? Number.NaN : told.reduce((sum, value) => sum + value, 0) / told.length;
}

function side(steps: readonly WholeStep[]): BalanceSide {
  return {
    stepSeconds: median(steps.map((one) => one.seconds)) ?? 0,
    slowest: median(steps.map(slowest)) ?? 1,
  };
}

/** Busiest rank over the mean, layers weighed by their tokens. */
function slowest({ loads, placement }: WholeStep): number {
  let sum = 0;
  let all = 0;
  for (let l = 0; l < loads.layers; l++) {
    const row = layerLoads(loads, l);
    const tokens = row.reduce((total, n) => total + n, 0);
    sum += tokens * maxOverMean(placement.shape, layerSlots(placement, l), row);
    all += tokens;
  }
  return all > 0 ? sum / all : 1;
}
