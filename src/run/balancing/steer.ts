import { say, type Text } from "../../base/index.ts";
import { fail } from "../errors.ts";
import type { NewEvent, RunState } from "../journal/index.ts";
import { type Costs, costOf, NO_COSTS, observeMove, observeRehearsal, observeStep } from "./costs.ts";
import { gainOf } from "./gain.ts";
import { type GuardState, NO_GUARD } from "./memory.ts";
import type { Answer, Proposal } from "./question.ts";
import { speedsOf } from "./speeds.ts";
import type { BalancePolicy, ExpertTopology, SteerAct, SteerInput, WholeStep } from "./types.ts";

/** A move that was journaled and told, and has not ended. */
type Open = {
  readonly id: number;
  readonly since: number;
  /** Seconds since 1970. */
  readonly toldAt: number;
  readonly ack: { readonly step: number; readonly ok: boolean; readonly why: string | null } | null;
  readonly bytes: readonly number[];
  readonly seconds: number;
  readonly layers: number;
  /** Step times and balance before it. */
  readonly before: readonly WholeStep[];
};

/** A move whose gain is being measured. */
type Watching = {
  readonly id: number;
  readonly movedAt: number;
  readonly moveSeconds: number;
  readonly before: readonly WholeStep[];
  readonly after: readonly WholeStep[];
};

export type Steer = {
  readonly policy: BalancePolicy;
  readonly topology: ExpertTopology;
  /** Steps of the whole run: how long a move has to pay back. */
  readonly steps: number;
  readonly attempt: number;
  /** Newest whole steps, oldest first. */
  readonly history: readonly WholeStep[];
  readonly costs: Costs;
  /** Whether this attempt's ranks were asked what moves cost. */
  readonly rehearsed: boolean;
  /** Speed of each place in the expert-parallel group; nothing while they are alike. */
  readonly speeds: readonly number[] | null;
  readonly open: Open | null;
  readonly watching: Watching | null;
  readonly lastId: number;
  readonly lastKey: string;
  readonly guard: GuardState;
  /** Questions so far, and the one that waits for its answer with the step that it is about. */
  readonly questions: number;
  readonly asked: { readonly number: number; readonly at: WholeStep } | null;
  /** Nobody answers any more. */
  readonly lost: boolean;
  /** What was last decided, for whoever looks. */
  readonly line: Text | null;
  /** Max/mean that the last obeyed plan promised, by layer. */
  readonly planned: Readonly<Record<number, number>>;
};

const UNMEASURED: Text = {
  en: "no move: ranks are loaded too much alike to tell what a token costs",
  zh: "不搬動：進程負載相近，尚無法量得每詞元的成本",
};

/** Before any step a history says nothing about chance. */
const LEAST_HISTORY = 8;

/** A move that an earlier controller told and never heard of is taken up: it is not told again. */
export function startSteer(
  policy: BalancePolicy,
  topology: ExpertTopology,
  steps: number,
  run: Pick<RunState, "balance" | "attempt">,
): Steer {
  const last = run.balance.decisions.findLast((one) => one.action === "act");
  const mine = last?.attempt === run.attempt;
  return {
    policy,
    topology,
    steps,
    attempt: run.attempt,
    history: [],
    costs: NO_COSTS,
    rehearsed: false,
    speeds: null,
    open:
      last && last.moved === null
        ? {
            id: last.id,
            since: last.step,
            toldAt: last.t,
            ack: null,
            bytes: [],
            seconds: 0,
            layers: last.layers.length,
            before: [],
          }
        : null,
    watching: null,
    lastId: run.balance.lastId,
    lastKey: "",
    guard: NO_GUARD,
    questions: 0,
    asked: null,
    lost: false,
    line: null,
    planned:
      last && mine && last.moved?.ok
        ? Object.fromEntries(last.layers.map((one) => [one.layer, one.after]))
        : {},
  };
}

/** One input: the next state and what to do, in order; an event is on disk before the command after it. Pure. */
export function steer(before: Steer, input: SteerInput): { state: Steer; acts: SteerAct[] } {
  const acts: SteerAct[] = [];
  let state = before;
  switch (input.kind) {
    case "attempt":
      if (input.attempt === state.attempt) break;
      state = { ...lose(state, acts), attempt: input.attempt };
      break;
    case "idle":
      state = lose(state, acts);
      break;
    case "moved": {
      const { open } = state;
      if (!open || input.step < open.since) break;
      const bytes = [...open.bytes, input.bytes];
      state = { ...state, open: { ...open, bytes, seconds: Math.max(open.seconds, input.seconds) } };
      state = settle(state, acts, input.step);
      break;
    }
    case "rehearsed":
      state = { ...state, rehearsed: true, costs: observeRehearsal(state.costs, input.samples) };
      break;
    case "ack": {
      const { open } = state;
      if (!open || input.id !== commandId(open.id)) break;
      const { step, ok, why } = input;
      state = settle({ ...state, open: { ...open, ack: { step, ok, why } } }, acts, step);
      break;
    }
    case "step":
      state = step(state, acts, input.step);
      break;
    case "answer":
      state = answered(state, acts, input.answer, input.t);
      break;
    case "lost":
      state = lost(state, acts, input.why);
      break;
    default:
      input satisfies never;
  }
  return { state, acts };
}

export const commandId = (id: number): string => `balance-${id}`;

/** The attempt is over: the checkpoint says where experts stand now, and what was measured before does not count. */
function lose(state: Steer, acts: SteerAct[]): Steer {
  const { open } = state;
  if (open)
    acts.push(ended(state, open.id, open.since, { ok: false, why: "attempt ended", seconds: 0, bytes: 0 }));
  return {
    ...state,
    history: [],
    open: null,
    asked: null,
    watching: null,
    planned: {},
    lastKey: "",
    rehearsed: false,
    guard: { ...state.guard, mostRows: 0 },
  };
}

function ended(
  state: Steer,
  id: number,
  at: number,
  what: Pick<Extract<NewEvent, { kind: "relocated" }>, "ok" | "why" | "seconds" | "bytes">,
): SteerAct {
  return { do: "journal", event: { kind: "relocated", id, attempt: state.attempt, step: at, ...what } };
}

/** Ends the open move when all has been heard of it, or when two steps have come after it. `now`: newest step known. */
function settle(state: Steer, acts: SteerAct[], now: number): Steer {
  const { open, topology, policy } = state;
  if (!open?.ack) return state;
  const { step: at, ok, why } = open.ack;
  if (ok && open.bytes.length < topology.world && now < at + 2) return state;
  const bytes = open.bytes.reduce((sum, n) => sum + n, 0);
  const { seconds } = open;
  acts.push(ended(state, open.id, at, { ok, why, seconds: ok ? seconds : 0, bytes: ok ? bytes : 0 }));
  if (!ok) return { ...state, open: null };
  return {
    ...state,
    open: null,
    // Of a move that runs on during the next step ranks time the beginning only.
    costs: policy.overlap
      ? state.costs
      : observeMove(state.costs, { layers: open.layers, bytes: Math.max(0, ...open.bytes), seconds }),
    watching: { id: open.id, movedAt: at, moveSeconds: seconds, before: open.before, after: [] },
  };
}

/** Ends the open move when ranks have gone on for so long after it was told that they cannot have heard of it. */
function giveUp(state: Steer, acts: SteerAct[], now: WholeStep): Steer {
  const { open, policy } = state;
  if (!open || open.ack) return state;
  const long = now.step >= open.since + Math.max(10, policy.every) && now.t > open.toldAt + patience(now);
  if (!long) return state;
  acts.push(ended(state, open.id, now.step, { ok: false, why: "not heard", seconds: 0, bytes: 0 }));
  return { ...state, open: null };
}

/** Seconds that a message or a command may be on its way. */
const patience = (now: WholeStep): number => Math.max(5, 4 * now.seconds);

function step(before: Steer, acts: SteerAct[], now: WholeStep): Steer {
  const { policy, topology } = before;
  if (now.step <= (before.history.at(-1)?.step ?? 0)) return before;
  let state: Steer = {
    ...before,
    history: [...before.history, now].slice(-policy.window),
    costs: observeStep(before.costs, now, topology, before.speeds ?? undefined),
  };
  // Not at once: an attempt that heals does lost steps again first. In time for the first decision.
  if (!state.rehearsed && policy.mode !== "off" && state.history.length >= LEAST_HISTORY / 2) {
    acts.push({
      do: "command",
      command: { kind: "command", id: `rehearse-${state.attempt}`, do: "rehearse" },
    });
    state = { ...state, rehearsed: true };
  }
  state = giveUp(settle(state, acts, now.step), acts, now);
  state = watch(state, acts, now);
  if (policy.mode === "off" || now.step % policy.every !== 0 || now.step >= state.steps) return state;
  if (state.history.length < LEAST_HISTORY || state.open || state.asked || state.lost) return state;
  // What is long past does not say where experts should stand now.
  if (now.heardAt > now.t + patience(now)) return state;
  state = atSpeeds(state);
  const number = state.questions + 1;
  const { history, guard, watching, speeds } = state;
  const known = costOf(state.costs, topology);
  const cost = known ? { ...known, ...(speeds ? { speeds } : {}) } : null;
  const question = {
    number,
    policy,
    topology,
    steps: state.steps,
    history,
    cost,
    guard,
    watching: watching !== null,
  };
  acts.push({ do: "ask", question });
  return { ...state, questions: number, asked: { number, at: now } };
}

/** Learns how fast ranks are. Where that changes, what rows cost was learned in another measure and is learned anew. */
function atSpeeds(state: Steer): Steer {
  const speeds = speedsOf(state.history, state.topology) ?? null;
  const same = (speeds === null) === (state.speeds === null);
  let costs = state.costs;
  if (!same) {
    costs = { ...costs, slopes: [], ratios: [] };
    for (const one of state.history) costs = observeStep(costs, one, state.topology, speeds ?? undefined);
  }
  return { ...state, speeds, costs };
}

/** Collects steps after a move and says what it brought. */
function watch(state: Steer, acts: SteerAct[], now: WholeStep): Steer {
  const { watching, policy, topology } = state;
  if (!watching || now.step <= watching.movedAt) return state;
  const after = [...watching.after, now];
  if (after.length < Math.max(6, policy.every - 2)) return { ...state, watching: { ...watching, after } };
  const gain = gainOf(watching.before, after, topology, watching.moveSeconds);
  if (gain) {
    const { attempt } = state;
    acts.push({
      do: "journal",
      event: { kind: "balanceGain", id: watching.id, attempt, step: now.step, ...gain },
    });
  }
  return { ...state, watching: null };
}

/** Takes up what was asked for. An answer to what is no longer so has no effect: the next question is about what is. */
function answered(before: Steer, acts: SteerAct[], said: Answer, t: number): Steer {
  const { asked } = before;
  if (!asked || said.number !== asked.number) return before;
  let state: Steer = { ...before, asked: null };
  const now = state.history.at(-1) as WholeStep;
  const { attempt } = state;
  if (t > asked.at.heardAt + patience(asked.at) || now.placement !== asked.at.placement) return state;
  if (now.step >= state.steps) return state;
  if (said.memory) acts.push({ do: "journal", event: { ...said.memory, attempt, step: now.step } });
  state = { ...state, guard: said.guard };
  if (!said.proposal) return state;
  return said.proposal === "unmeasured"
    ? { ...state, line: UNMEASURED }
    : tell(state, acts, now, said.proposal, t);
}

function tell(state: Steer, acts: SteerAct[], now: WholeStep, proposal: Proposal, toldAt: number): Steer {
  const { command, ...said } = proposal;
  const { action, line, layers } = said;
  const key = `${action} ${layers.map((layer) => layer.layer).join()}`;
  const seen = { ...state, line, lastKey: key };
  // What was said last time need not be said again; a move always is.
  if (action !== "act" && key === state.lastKey) return seen;
  const id = state.lastId + 1;
  const { attempt } = state;
  acts.push({ do: "journal", event: { kind: "balance", id, attempt, step: now.step, ...said } });
  if (action !== "act" || !command) return { ...seen, lastId: id };
  acts.push({
    do: "command",
    command: { kind: "command", id: commandId(id), ...command, overlap: state.policy.overlap },
  });
  const before = state.history.filter((one) => one.placement === now.placement).slice(-state.policy.every);
  return {
    ...seen,
    lastId: id,
    open: { id, since: now.step, toldAt, ack: null, bytes: [], seconds: 0, layers: layers.length, before },
    planned: { ...state.planned, ...Object.fromEntries(layers.map((one) => [one.layer, one.after])) },
  };
}

/** Whoever answers is gone: what is under way goes on, nothing more is decided. */
function lost(state: Steer, acts: SteerAct[], why: string): Steer {
  if (state.lost) return state;
  const { attempt } = state;
  const step = state.history.at(-1)?.step ?? 0;
  const { code, params, entry } = fail("RUN_BALANCING_LOST", { why });
  acts.push({ do: "journal", event: { kind: "balanceLost", attempt, step, verdict: { code, params } } });
  const line = { en: say(entry.message, "en", params), zh: say(entry.message, "zh", params) };
  return { ...state, asked: null, lost: true, line };
}
