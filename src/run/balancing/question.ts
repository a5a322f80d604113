import { decide, layerSlots, type RelocateCommand } from "../../experts/index.ts";
import type { NewEvent } from "../journal/index.ts";
import { median } from "./costs.ts";
import { tellingSeconds } from "./gain.ts";
import { guard, type GuardState } from "./memory.ts";
import type { BalancePolicy, ExpertTopology, WholeStep } from "./types.ts";

type Balance = Extract<NewEvent, { kind: "balance" }>;

/**
 * Everything that a decision depends on, as plain data: it is answered in another thread. Steps that share a placement may share the
 * object, and a copy of the whole keeps that.
 */
export type Question = {
  readonly number: number;
  readonly policy: BalancePolicy;
  readonly topology: ExpertTopology;
  /** Steps of the whole run. */
  readonly steps: number;
  /** Oldest first; the newest says where experts stand. */
  readonly history: readonly WholeStep[];
  /** null: not known yet. */
  readonly cost: Balance["cost"] | null;
  readonly guard: GuardState;
  /** A move's gain is being measured: only memory may ask for another one. */
  readonly watching: boolean;
};

/** A decision, as the journal tells it, and what to tell the ranks. */
export type Proposal = Pick<Balance, "action" | "why" | "line" | "forecast" | "cost" | "layers"> & {
  readonly command: RelocateCommand | null;
};

export type Answer = {
  readonly number: number;
  readonly guard: GuardState;
  readonly memory: Omit<Extract<NewEvent, { kind: "memoryForecast" }>, "attempt" | "step"> | null;
  /** null: a move's gain is still being measured. */
  readonly proposal: Proposal | "unmeasured" | null;
};

/** Seconds at full scale (61 layers of 384 experts), which is why whoever asks does not wait. Pure. */
export function answer(question: Question): Answer {
  const { number, history, topology, policy } = question;
  const guarded = guard(question.guard, history, topology, policy, () => plan(question, true));
  const memory = guarded.event ?? null;
  const found = guarded.plan ?? (question.watching ? null : (plan(question, false) ?? "unmeasured"));
  const proposal =
    found && found !== "unmeasured" ? propose(question, found, guarded.plan !== undefined) : found;
  return { number, guard: guarded.state, memory, proposal };
}

/** What `decide` says of the present; nothing before costs are known. `urgent`: every better balance is worth its price. */
function plan({ topology, policy, history, steps, cost }: Question, urgent: boolean) {
  const now = history.at(-1) as WholeStep;
  const safety = urgent ? 0 : policy.safety;
  if (!cost) return undefined;
  const loads = history.map(({ loads: all }) => ({
    ...all,
    values: all.values.map((n) => n / topology.groups),
  }));
  const model = {
    secondsPerToken: cost.secondsPerRow,
    bytesPerExpert: cost.bytesPerExpert,
    nodeBytesPerSecond: cost.bytesPerSecond,
    networkBytesPerSecond: cost.bytesPerSecond,
    fixedSeconds: cost.fixedSeconds,
    layerSeconds: cost.layerSeconds ?? 0,
    spread: cost.spread ?? { token: 0, move: 0 },
    stageOf: now.stageOf,
  };
  const decision = decide(loads, withSpeeds(now.placement, cost.speeds), model, {
    mode: policy.mode === "on" ? "act" : "advise",
    horizonSteps: urgent ? Number.MAX_SAFE_INTEGER : Math.max(1, steps - now.step),
    safety,
    stepNoiseSeconds: safety === 0 ? 0 : noiseOf(tellingSeconds(history, topology)),
    microBatches: topology.microBatches,
  });
  return decision.ok ? { decision: decision.value, cost } : undefined;
}

/** Standard deviation of a series, from the differences of neighbours, so that what drifts is not noise. */
function noiseOf(seconds: readonly number[]): number {
  const jumps = seconds
    .slice(1)
    .map((one, i) => Math.abs(one - (seconds[i] as number)))
    .filter(Number.isFinite);
  // 1.48: median absolute deviation to standard deviation; the difference of two has twice the variance.
  return (1.4826 * (median(jumps) ?? 0)) / Math.SQRT2;
}

/** Ranks that are not alike: the planner gives the slower ones less. */
function withSpeeds(
  placement: WholeStep["placement"],
  speeds: readonly number[] | undefined,
): WholeStep["placement"] {
  if (!speeds) return placement;
  return { ...placement, shape: { ...placement.shape, speed: Float64Array.from(speeds), even: false } };
}

/** What is told of a plan: its thousands of single moves stay where they were found. */
function propose(
  { history }: Question,
  { decision, cost }: NonNullable<ReturnType<typeof plan>>,
  memory: boolean,
): Proposal {
  const { action, line, forecast } = decision;
  const now = history.at(-1) as WholeStep;
  const moving = decision.layers.filter((layer) => layer.act && action !== "stay");
  const { savedSecondsPerStep, moveSeconds, paybackSteps, paybackRange, traffic } = forecast;
  return {
    action,
    why: memory ? "memory" : "time",
    line,
    cost,
    command: decision.command ?? null,
    layers: moving.map(({ layer, before, after, bound }) => ({
      layer,
      before,
      after,
      bound: bound.ratio,
      from: slotsOf(now.placement, layer),
      to: slotsOf(decision.placement, layer),
    })),
    forecast:
      action === "stay"
        ? { savedSecondsPerStep: 0, moveSeconds: 0, paybackSteps: null, bytes: 0, experts: 0 }
        : {
            savedSecondsPerStep,
            moveSeconds,
            paybackSteps: Number.isFinite(paybackSteps) ? paybackSteps : null,
            ...(Number.isFinite(paybackRange[1]) ? { paybackRange } : {}),
            bytes: traffic.nodeBytes + traffic.networkBytes,
            experts: traffic.transfers,
          },
  };
}

const slotsOf = (placement: WholeStep["placement"], layer: number): number[] =>
  Array.from(layerSlots(placement, placement.ids.indexOf(layer)));
