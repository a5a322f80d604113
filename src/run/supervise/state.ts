import type { Outcome, RunState, Verdict } from "../journal/index.ts";
import type { Goal, Input } from "./types.ts";

export type NodeState = {
  readonly agent: string;
  readonly ranks: readonly number[];
  /** The instance that is there or being started, and the youngest ever started. */
  readonly instance: number;
  readonly started: number;
  readonly state: "absent" | "starting" | "joined";
  readonly zygote: boolean;
  /** When the present state began. */
  readonly since: number;
  /** What it said of its ranks when it joined, until all nodes have joined. */
  readonly view: { readonly attempt: number; readonly ranks: readonly number[] } | null;
};

/** What comes after the ranks are gone. */
export type After =
  | { readonly next: "restart" }
  | { readonly next: "finish"; readonly outcome: Outcome; readonly verdict: Verdict | null };

/**
 * gather: waiting for agents and their zygotes. master: a port was asked of the first agent. running: ranks work.
 * stopping: ranks were told to save and stop. teardown: ranks were killed, waiting for the last exit. ended: nothing more happens.
 */
export type Mode = "gather" | "master" | "running" | "stopping" | "teardown" | "ended";

export type Supervisor = {
  readonly goal: Goal;
  readonly mode: Mode;
  /** When the mode began. */
  readonly since: number;
  readonly nodes: readonly NodeState[];
  readonly attempt: number;
  /** Where the attempt's ranks meet; null while it is asked for, and for an attempt that an earlier controller spawned. */
  readonly master: { readonly host: string; readonly port: number } | null;
  /** Ranks of the attempt that were spawned and have not ended. */
  readonly alive: ReadonlySet<number>;
  readonly after: After;
  /** Step of the last `done`, 0 before. */
  readonly doneStep: number;
  /** Newest step seen in this attempt, and in all. */
  readonly attemptStep: number;
  readonly maxStep: number;
  readonly checkpointStep: number;
  /** The incident that waits for its first new step. */
  readonly open: { readonly id: number; readonly t: number } | null;
  readonly incidents: number;
  /** A rank failed in this attempt: later exits follow from the first. */
  readonly faulted: boolean;
  /** Ranks of this attempt whose last words blame another: a peer was gone. */
  readonly blaming: ReadonlySet<number>;
  /** The first of them to end, while the rank that they blame may still be told of. */
  readonly held: Extract<Input, { kind: "exited" }> | null;
};

/** What an attempt begins with. */
export const FRESH = {
  faulted: false,
  blaming: new Set<number>(),
  held: null,
  doneStep: 0,
  attemptStep: 0,
} as const;

/** Supervisor of a run whose journal adds up to `run` and whose telemetry goes to step `reached`: nothing is known about agents until they join. */
export function startSupervisor(goal: Goal, run: RunState, t: number, reached = 0): Supervisor {
  const last = run.incidents.at(-1);
  return {
    goal,
    mode: "gather",
    since: t,
    nodes: goal.nodes.map(({ agent, ranks }) => ({
      agent,
      ranks,
      instance: run.agents[agent]?.instance ?? 0,
      started: run.agents[agent]?.instance ?? 0,
      state: "absent",
      zygote: false,
      since: t,
      view: null,
    })),
    attempt: run.attempt,
    master: null,
    alive: new Set(),
    after: { next: "restart" },
    maxStep: Math.max(reached, run.checkpoint?.step ?? 0),
    checkpointStep: run.checkpoint?.step ?? 0,
    open: last && !last.recovered && last.remedy?.do === "restart" ? { id: last.id, t: last.t } : null,
    incidents: run.incidents.reduce((most, one) => Math.max(most, one.id), 0),
    ...FRESH,
  };
}

export const ranksOf = (goal: Goal): number => goal.nodes.reduce((sum, node) => sum + node.ranks.length, 0);
