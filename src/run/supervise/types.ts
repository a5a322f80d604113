import type { Alarm, NewEvent, Outcome, Remedy, Verdict } from "../journal/index.ts";
import type { AgentMessage, KnownMessage } from "../wire/index.ts";

/** What the watch is told. `t` is seconds since 1970 by the controller's clock: when it learned of it. */
export type Signal = { readonly t: number } & (
  | { readonly kind: "attempt"; readonly attempt: number; readonly world: number }
  | { readonly kind: "idle" }
  | { readonly kind: "worker"; readonly message: KnownMessage }
  | {
      readonly kind: "rankExit";
      readonly attempt: number;
      readonly rank: number;
      readonly code: number | null;
      readonly signal: number | null;
    }
  | { readonly kind: "agentLost"; readonly agent: string; readonly why: string }
  | { readonly kind: "startFailed"; readonly agent: string; readonly why: string }
  | { readonly kind: "disk"; readonly freeBytes: number; readonly totalBytes: number }
  | { readonly kind: "processes"; readonly processes: Told<"beat">["processes"] }
  /** The controller did not run for so long, and heard nothing. */
  | { readonly kind: "woke"; readonly seconds: number }
  | { readonly kind: "tick" }
);

/** What the watch answers. */
export type Finding = { readonly alarm: Alarm; readonly remedy: Remedy };

/** One node's share of the ranks. */
export type NodePlan = { readonly agent: string; readonly ranks: readonly number[] };

/** What the supervisor is to reach. */
export type Goal = {
  readonly nodes: readonly NodePlan[];
  readonly steps: number;
  /** Longest wait for ranks that were told to stop, before they are killed. */
  readonly stopSeconds: number;
  /** Longest wait for a killed rank's exit, before its agent counts as lost. */
  readonly killSeconds: number;
  /** Longest wait for an agent to join and its zygote to be ready. */
  readonly joinSeconds: number;
};

/** An agent's message, as it was told. */
type Told<K extends AgentMessage["kind"]> = Extract<AgentMessage, { kind: K }>;

export type Input = { readonly t: number } & (
  | { readonly kind: "begin" }
  | ({ readonly kind: "joined" } & Omit<Told<"join">, "kind" | "token">)
  | { readonly kind: "zygote"; readonly agent: string }
  | { readonly kind: "startFailed"; readonly agent: string; readonly why: string }
  | { readonly kind: "agentLost"; readonly agent: string; readonly instance: number; readonly why: string }
  | Told<"master">
  | Omit<Told<"exited">, "seq" | "t">
  | { readonly kind: "worker"; readonly message: KnownMessage }
  | { readonly kind: "finding"; readonly finding: Finding }
  | { readonly kind: "stop"; readonly now: boolean }
  | { readonly kind: "tick" }
);

/** What the shell does, in this order. An event is on disk before the acts after it. */
export type Act =
  | { readonly do: "journal"; readonly event: NewEvent }
  | { readonly do: "startAgent"; readonly agent: string; readonly instance: number }
  | { readonly do: "dropAgent"; readonly agent: string; readonly instance: number }
  | { readonly do: "askMaster"; readonly agent: string; readonly attempt: number }
  | { readonly do: "spawn"; readonly attempt: number; readonly host: string; readonly port: number }
  | { readonly do: "kill"; readonly attempt: number }
  | { readonly do: "stopRanks"; readonly attempt: number }
  | { readonly do: "prune"; readonly keep: number }
  | { readonly do: "report"; readonly signal: Signal }
  | { readonly do: "finish"; readonly outcome: Outcome; readonly verdict: Verdict | null };
