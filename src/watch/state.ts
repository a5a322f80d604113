import type { KnownMessage, Recipe, RunState, Signal } from "../run/index.ts";

export type Policy = Recipe["watch"];
type Processes = Extract<Signal, { kind: "processes" }>["processes"];
type Fatal = Extract<KnownMessage, { kind: "fatal" }>;

/** What the rules remember: plain data, rebuilt from nothing after a restart of the controller. */
export type WatchState = {
  readonly policy: Policy;
  /** Ranks are at work, so silence means something. */
  readonly working: boolean;
  readonly attempt: number;
  /** When the last progress was heard of. */
  readonly progressAt: number;
  /** Newest step of each rank in this attempt. */
  readonly steps: Readonly<Record<number, number>>;
  /** Seconds of the last steps, oldest first, over attempts. */
  readonly stepSeconds: readonly number[];
  readonly fatals: Readonly<Record<number, Fatal>>;
  /** Last step whose loss or gradient norm is no finite number, in this attempt. */
  readonly notFinite: { readonly step: number; readonly loss: number; readonly gradNorm: number } | null;
  readonly processes: Processes;
  readonly processesBefore: Processes;
  readonly disk: readonly { readonly t: number; readonly freeBytes: number }[];
  readonly prunedAt: number | null;
  readonly warnedAt: number | null;
};

export function startWatch(policy: Policy): WatchState {
  return {
    policy,
    working: false,
    attempt: 0,
    progressAt: 0,
    steps: {},
    stepSeconds: [],
    fatals: {},
    notFinite: null,
    processes: [],
    processesBefore: [],
    disk: [],
    prunedAt: null,
    warnedAt: null,
  };
}

/** Restarts in a row since the newest checkpoint, and in all: what the budgets count. */
export function restartsSpent(run: RunState): { inARow: number; total: number } {
  const restarts = run.incidents.filter((one) => one.remedy?.do === "restart");
  const now = run.checkpoint?.step ?? 0;
  return {
    inARow: restarts.filter((one) => one.checkpointStep === now).length,
    total: restarts.length,
  };
}
