import { layerLoads, layerSlots, maxOverMean } from "../../experts/index.ts";
import type { BalanceSide, NewEvent } from "../journal/index.ts";
import { median } from "./costs.ts";
import type { ExpertTopology, WholeStep } from "./types.ts";

type Gain = Omit<Extract<NewEvent, { kind: "balanceGain" }>, "kind" | "id" | "attempt" | "step">;

/**
 * What a move brought, from the steps before and after it. `moveSeconds`: as the ranks timed it; the boundary that it stopped says
 * better what was felt.
 *
 * A placement changes how long ranks wait for the busiest one, and nothing else of what they compute, so on one pipeline stage the gain
 * is the fall of the time in the all-to-all (mean over ranks): what the machine does to all ranks alike drops out. With several stages
 * waiting is spread over other messages too, and the clock of the step is all there is.
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
  const waited = topology.pp > 1 ? undefined : middle(before, exchanged);
  const waits = middle(rest, exchanged);
  const saved =
    waited === undefined || waits === undefined ? left.stepSeconds - right.stepSeconds : waited - waits;
  const usual = middle(rest, (one) => one.boundarySeconds) ?? 0;
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

function middle(steps: readonly WholeStep[], of: (step: WholeStep) => number): number | undefined {
  return median(steps.map(of).filter(Number.isFinite));
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
