import { median, rowsOfRanks } from "./costs.ts";
import type { ExpertTopology, WholeStep } from "./types.ts";

/** Ranks are only told apart when one is slower than the middle by this share; what is less is not worth uneven loads. */
const LEAST = 0.1;
const LEAST_STEPS = 8;
/** Standard errors by which a rank must differ. */
const SURE = 3;

/**
 * Speed of each place in the expert-parallel group, [ep], the middle one 1; nothing while all are alike.
 *
 * Two signs, each with its own bias: seconds of the experts per row (a rank with few rows looks slow, its products are small), and
 * seconds of everything else, which is the same work on all ranks (a rank with many rows looks slow, it sorts more of them; and who
 * waits for a slow one in FSDP's collectives looks as slow). Of alike ranks with 8 times the rows of each other the first said 1.2 one
 * way and the second 1.15 the other. So a rank is slower only where both say so, and by their geometric mean, in which these biases
 * cancel and that of the waiting keeps the answer on the mild side. A place that several ranks share is as fast as the slowest of them.
 */
export function speedsOf(history: readonly WholeStep[], topology: ExpertTopology): number[] | undefined {
  if (history.length < LEAST_STEPS) return undefined;
  const experts = history.map((step) => {
    const rows = rowsOfRanks(step, topology);
    return relative(
      step.experts.map((seconds, r) => seconds / (rows[r] as number)),
      topology,
    );
  });
  const others = history.map((step) =>
    relative(
      step.busy.map((seconds, r) => seconds - (step.experts[r] as number)),
      topology,
    ),
  );
  const speeds = Array.from({ length: topology.ep }, () => Number.POSITIVE_INFINITY);
  for (let rank = 0; rank < topology.world; rank++) {
    const slow = agreed(surely(experts, rank), surely(others, rank));
    const speed = Math.abs(slow) < Math.log(1 + LEAST) ? 1 : Math.exp(-slow);
    const place = rank % topology.ep;
    speeds[place] = Math.min(speeds[place] as number, speed);
  }
  return speeds.some((speed) => speed !== 1) ? speeds : undefined;
}

/** Logarithm of each rank's seconds over the middle of its pipeline stage, [world]. */
function relative(seconds: Float64Array, { world, pp }: ExpertTopology): number[] {
  const perStage = world / pp;
  const middles = Array.from({ length: pp }, (_, stage) =>
    median([...seconds.subarray(stage * perStage, (stage + 1) * perStage)].filter((one) => one > 0)),
  );
  return Array.from(seconds, (value, rank) => {
    const middle = middles[Math.floor(rank / perStage)];
    return value > 0 && middle ? Math.log(value / middle) : Number.NaN;
  });
}

/** Median over steps of one rank's logarithm, or 0 where it is not sure that there is one. */
function surely(steps: readonly (readonly number[])[], rank: number): number {
  const values = steps.map((step) => step[rank] as number).filter(Number.isFinite);
  const middle = values.length < LEAST_STEPS ? 0 : (median(values) as number);
  const off = median(values.map((value) => Math.abs(value - middle))) ?? 0;
  // 1.48: median absolute deviation to standard deviation; 1.25: standard error of a median over that of a mean.
  const error = (1.4826 * 1.2533 * off) / Math.sqrt(Math.max(1, values.length));
  return Math.abs(middle) > SURE * error ? middle : 0;
}

const agreed = (a: number, b: number): number => (a * b <= 0 ? 0 : (a + b) / 2);
