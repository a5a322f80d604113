import type { Params, Text } from "../../base/index.ts";

/** The phases of a run, in their order. */
export const PHASES = ["data", "screen", "plan", "train", "measure", "export", "report"] as const;
export type PhaseName = (typeof PHASES)[number];

/** What a rule saw; `evidence` holds the numbers it decided on. */
export type Alarm = {
  readonly rule: "rankCrash" | "agentLost" | "hang" | "notFinite" | "disk" | "startFailed";
  readonly code: string;
  readonly rank: number | null;
  readonly agent: string | null;
  readonly step: number | null;
  readonly evidence: Params;
};

/** What is done about an alarm. `stop` saves first when the ranks still can; `fail` ends at once. Both end the run with a verdict. */
export type Remedy =
  | { readonly do: "restart" }
  | { readonly do: "prune"; readonly keep: number }
  | { readonly do: "stop"; readonly verdict: string }
  | { readonly do: "fail"; readonly verdict: string };

/** How a run can end. */
export type Outcome = "done" | "stopped" | "failed" | "refused";

/** A coded message as data: what a TesseraError carries. */
export type Verdict = { readonly code: string; readonly params: Params };

/** What a decision on the experts' places foresaw. Seconds and bytes are of all moves of the decision together. */
export type BalanceForecast = {
  readonly savedSecondsPerStep: number;
  readonly moveSeconds: number;
  /** null: nothing is saved. */
  readonly paybackSteps: number | null;
  /** Where nine of ten paybacks fall. */
  readonly paybackRange?: readonly [number, number];
  readonly bytes: number;
  readonly experts: number;
};

/** One layer of a decision: slowest rank over the mean before and after, the least that is possible, expert of every slot. */
export type BalanceLayer = {
  readonly layer: number;
  readonly before: number;
  readonly after: number;
  readonly bound: number;
  readonly from: readonly number[];
  readonly to: readonly number[];
};

/** Measured costs that a decision was made with. */
export type BalanceCost = {
  readonly secondsPerRow: number;
  readonly bytesPerExpert: number;
  readonly bytesPerSecond: number;
  readonly fixedSeconds: number;
  readonly layerSeconds?: number;
  /** Relative standard deviations of a row's seconds and of a move's. */
  readonly spread?: { readonly token: number; readonly move: number };
  /** Speed of each place in the expert-parallel group, where ranks are not alike. */
  readonly speeds?: readonly number[];
};

/** Step time and balance around a move, medians. `slowest`: tokens of the busiest rank over the mean. */
export type BalanceSide = { readonly stepSeconds: number; readonly slowest: number };

/**
 * Everything a run decides, in the order it was decided; each event is on disk before the act that it announces. `t` is seconds
 * since 1970. What is measured (losses, loads) is telemetry and does not belong here.
 */
export type JournalEvent = { readonly t: number } & (
  | { readonly kind: "created"; readonly run: string; readonly name: string; readonly version: string }
  /** A controller took the run over; `epoch` counts them and fences the ones before. */
  | { readonly kind: "controller"; readonly epoch: number; readonly pid: number; readonly host: string }
  | { readonly kind: "phase"; readonly phase: PhaseName; readonly input: string }
  | {
      readonly kind: "phaseDone";
      readonly phase: PhaseName;
      readonly input: string;
      readonly output: unknown;
      readonly seconds: number;
    }
  | { readonly kind: "phaseFailed"; readonly phase: PhaseName; readonly verdict: Verdict }
  /** About to start agent `agent` for the `instance`-th time. */
  | { readonly kind: "agentStart"; readonly agent: string; readonly instance: number }
  | {
      readonly kind: "agentJoined";
      readonly agent: string;
      readonly instance: number;
      readonly pid: number;
      readonly host: string;
    }
  | { readonly kind: "agentLost"; readonly agent: string; readonly instance: number; readonly why: string }
  /** About to spawn all ranks for the `attempt`-th time. `fromStep` is the newest good checkpoint's, 0 for none. */
  | { readonly kind: "attempt"; readonly attempt: number; readonly world: number; readonly fromStep: number }
  /** A restarted controller found the attempt's ranks alive and took them over. */
  | { readonly kind: "adopted"; readonly attempt: number }
  | {
      readonly kind: "rankExited";
      readonly attempt: number;
      readonly rank: number;
      readonly code: number | null;
      readonly signal: number | null;
    }
  | { readonly kind: "alarm"; readonly id: number; readonly attempt: number; readonly alarm: Alarm }
  /** About to act on alarm `id`. */
  | { readonly kind: "remedy"; readonly id: number; readonly remedy: Remedy }
  /** The first step after a restart. `redone` steps were trained before and are trained again. */
  | {
      readonly kind: "recovered";
      readonly id: number;
      readonly attempt: number;
      readonly step: number;
      readonly seconds: number;
      readonly redone: number;
    }
  | {
      readonly kind: "checkpoint";
      readonly attempt: number;
      readonly step: number;
      readonly path: string;
      readonly bytes: number;
      readonly seconds: number;
      readonly stallSeconds: number;
    }
  /**
   * What is to be done about the experts' places, `act` before the ranks are told. `memory`: because of memory, not time.
   * `layers` are those that move, or would.
   */
  | {
      readonly kind: "balance";
      readonly id: number;
      readonly attempt: number;
      readonly step: number;
      readonly action: "act" | "advise" | "stay";
      readonly why: "time" | "memory";
      readonly line: Text;
      readonly forecast: BalanceForecast;
      readonly cost: BalanceCost;
      readonly layers: readonly BalanceLayer[];
    }
  /** How the move of decision `id` ended. Not `ok`: experts stand where they stood (`why`), or the attempt ended. */
  | {
      readonly kind: "relocated";
      readonly id: number;
      readonly attempt: number;
      readonly step: number;
      readonly ok: boolean;
      readonly why: string | null;
      readonly seconds: number;
      readonly bytes: number;
    }
  /** What the move of decision `id` brought. `moveSeconds` is the move with what it cost the step after it. */
  | {
      readonly kind: "balanceGain";
      readonly id: number;
      readonly attempt: number;
      readonly step: number;
      readonly before: BalanceSide;
      readonly after: BalanceSide;
      readonly savedSecondsPerStep: number;
      readonly moveSeconds: number;
      /** null: the move saves nothing, so it is never paid back. */
      readonly paybackSteps: number | null;
    }
  /** The busiest rank may run out of memory, or (`none`) no longer. */
  | {
      readonly kind: "memoryForecast";
      readonly attempt: number;
      readonly step: number;
      readonly action: "none" | "act" | "advise" | "impossible";
      readonly line: Text;
      readonly forecastBytes: number;
      readonly budgetBytes: number;
    }
  /** Nothing is decided about the experts' places any more, until the next controller. Training goes on. */
  | {
      readonly kind: "balanceLost";
      readonly attempt: number;
      readonly step: number;
      readonly verdict: Verdict;
    }
  /** Where experts stand before the first step, by what is known of the data. */
  | {
      readonly kind: "placed";
      readonly line: Text;
      readonly layers: readonly Omit<BalanceLayer, "from" | "to">[];
    }
  | { readonly kind: "stopAsked"; readonly by: "person" | "watch"; readonly now: boolean }
  | { readonly kind: "trained"; readonly step: number }
  | { readonly kind: "ended"; readonly outcome: Outcome; readonly verdict: Verdict | null }
);

/** An event before it gets its time. */
export type NewEvent = JournalEvent extends infer E ? (E extends JournalEvent ? Omit<E, "t"> : never) : never;
