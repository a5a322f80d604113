import {
  type Decision,
  guardMemory,
  layerLoads,
  layerSlots,
  loadOfRanks,
  type Remedy,
} from "../../experts/index.ts";
import type { BalanceCost, NewEvent } from "../journal/index.ts";
import type { BalancePolicy, ExpertTopology, WholeStep } from "./types.ts";

/** What the guard said last; it speaks again only when that changes. */
export type GuardState = {
  readonly action: "none" | "act" | "advise" | "impossible";
  /** Most rows that a rank of this attempt has kept at one time, which its peak stands for. */
  readonly mostRows: number;
};
export const NO_GUARD: GuardState = { action: "none", mostRows: 0 };

type Plan = { readonly decision: Decision; readonly cost: BalanceCost };
type Forecast = Omit<Extract<NewEvent, { kind: "memoryForecast" }>, "attempt" | "step">;

/**
 * Forecasts the memory of the rank that receives most rows, from the quantiles of what was received, and answers before it overflows:
 * a better placement if one is enough, advice if only the recipe can be changed.
 *
 * Memory is what was measured at the peak plus what more rows than ever seen would take. `replan` gives the placement with the best
 * balance whatever it costs.
 */
export function guard(
  before: GuardState,
  history: readonly WholeStep[],
  topology: ExpertTopology,
  policy: BalancePolicy,
  replan: () => Plan | undefined,
): { state: GuardState; event?: Forecast; plan?: Plan } {
  const peak = Math.max(0, ...history.map((one) => one.peakBytes));
  if (policy.memoryBytes === null || peak === 0) return { state: before };
  const now = history.at(-1) as WholeStep;
  // What was routed would weigh on ranks as experts stand now: a move is no spread of the loads.
  const worstTokens = history.map((one) => keptRows(one, now.placement, topology));
  const mostRows = Math.max(before.mostRows, ...history.map((one) => keptRows(one, one.placement, topology)));
  const bytesPerToken = topology.savedBytesPerRow;
  const fixedBytes = Math.max(0, peak - mostRows * bytesPerToken);
  const ask = (remedies: readonly Remedy[]) =>
    guardMemory({
      worstTokens,
      bytesPerToken,
      fixedBytes,
      budgetBytes: policy.memoryBytes as number,
      quantile: policy.memoryQuantile,
      remedies,
    });
  // A plan is only made when one is needed.
  const plan = ask([]).action === "none" ? undefined : replan();
  const factor =
    plan && plan.decision.action !== "stay"
      ? keptRows(now, plan.decision.placement, topology) / keptRows(now, now.placement, topology)
      : 1;
  const { forecastBytes, action, remedies, line } = ask([
    ...(factor < 1
      ? [{ kind: "move" as const, tokensFactor: factor, bytesFactor: 1, secondsPerStep: 0 }]
      : []),
    // Their price is what is known of them from the formulas of the planner: a third more compute, twice the messages.
    ...(topology.recompute
      ? []
      : [
          {
            kind: "recompute" as const,
            tokensFactor: 1,
            bytesFactor: 0.25,
            secondsPerStep: now.seconds / 3,
          },
        ]),
    // One sample cannot be cut.
    ...(topology.microBatch < 2
      ? []
      : [
          {
            kind: "split-microbatch" as const,
            tokensFactor: 0.5,
            bytesFactor: 1,
            secondsPerStep: now.seconds / 10,
          },
        ]),
  ]);
  const moves = action === "act" && remedies.every((remedy) => remedy.kind === "move");
  const answer = action !== "act" ? action : moves && policy.mode === "on" ? "act" : "advise";
  const state: GuardState = { action: answer, mostRows };
  const budgetBytes = policy.memoryBytes;
  if (answer === before.action && answer !== "act") return { state };
  const event: Forecast = { kind: "memoryForecast", action: answer, line, forecastBytes, budgetBytes };
  return { state, event, ...(answer === "act" && plan ? { plan } : {}) };
}

/** Rows that the busiest rank keeps at one time for its backward pass. */
function keptRows(
  step: WholeStep,
  placement: WholeStep["placement"],
  { pp, ep, groups, microBatches, inFlight, recompute }: ExpertTopology,
): number {
  const kept = new Float64Array(pp * ep);
  for (let l = 0; l < step.loads.layers; l++) {
    const ranks = loadOfRanks(placement.shape, layerSlots(placement, l), layerLoads(step.loads, l));
    const first = (step.stageOf[l] as number) * ep;
    for (let r = 0; r < ep; r++) {
      const rows = (ranks[r] as number) / groups / microBatches;
      kept[first + r] = recompute
        ? Math.max(kept[first + r] as number, rows)
        : (kept[first + r] as number) + rows;
    }
  }
  return Math.max(...kept) * inFlight;
}
