import { type BalanceState, NO_BALANCE, reduceBalance } from "./balance.ts";
import type { Alarm, JournalEvent, Outcome, PhaseName, Remedy, Verdict } from "./events.ts";

export type PhaseState =
  | { readonly state: "running"; readonly input: string; readonly since: number }
  | { readonly state: "done"; readonly input: string; readonly output: unknown; readonly seconds: number }
  | { readonly state: "failed"; readonly verdict: Verdict };

/** An alarm with what was done about it. `remedy` null: it was written, the remedy not yet. */
export type Incident = {
  readonly id: number;
  readonly t: number;
  readonly attempt: number;
  readonly alarm: Alarm;
  readonly remedy: Remedy | null;
  readonly recovered: { readonly step: number; readonly seconds: number; readonly redone: number } | null;
  /** Step of the newest checkpoint when the alarm fired: tells whether restarts bring progress. */
  readonly checkpointStep: number;
};

export type AgentRecord = {
  readonly instance: number;
  readonly state: "starting" | "joined" | "lost";
  readonly pid: number | null;
};

/** A run as its journal tells it: plain data, the same after every replay. */
export type RunState = {
  readonly run: string;
  readonly name: string;
  readonly createdAt: number;
  readonly epoch: number;
  readonly phases: Readonly<Partial<Record<PhaseName, PhaseState>>>;
  readonly agents: Readonly<Record<string, AgentRecord>>;
  readonly attempt: number;
  readonly attemptAt: number;
  readonly world: number;
  readonly incidents: readonly Incident[];
  readonly checkpoint: { readonly step: number; readonly path: string; readonly bytes: number } | null;
  readonly balance: BalanceState;
  readonly trainedStep: number | null;
  /** Asked to stop and not yet started again. */
  readonly stopAsked: boolean;
  readonly ended: { readonly outcome: Outcome; readonly verdict: Verdict | null; readonly t: number } | null;
  readonly lastAt: number;
};

export const EMPTY: RunState = Object.freeze({
  run: "",
  name: "",
  createdAt: 0,
  epoch: 0,
  phases: {},
  agents: {},
  attempt: 0,
  attemptAt: 0,
  world: 0,
  incidents: [],
  checkpoint: null,
  balance: NO_BALANCE,
  trainedStep: null,
  stopAsked: false,
  ended: null,
  lastAt: 0,
});

/** The state after one more event. Pure; never throws. */
export function reduce(before: RunState, event: JournalEvent): RunState {
  const state: RunState = { ...before, lastAt: event.t };
  switch (event.kind) {
    case "created":
      return { ...state, run: event.run, name: event.name, createdAt: event.t };
    case "controller":
      // A new controller means that someone wants the run to go on: what ended it before is past.
      return { ...state, epoch: event.epoch, stopAsked: false, ended: null };
    case "phase":
      return withPhase(state, event.phase, { state: "running", input: event.input, since: event.t });
    case "phaseDone":
      return withPhase(state, event.phase, {
        state: "done",
        input: event.input,
        output: event.output,
        seconds: event.seconds,
      });
    case "phaseFailed":
      return withPhase(state, event.phase, { state: "failed", verdict: event.verdict });
    case "agentStart":
      return withAgent(state, event.agent, { instance: event.instance, state: "starting", pid: null });
    case "agentJoined":
      return withAgent(state, event.agent, { instance: event.instance, state: "joined", pid: event.pid });
    case "agentLost":
      return withAgent(state, event.agent, { instance: event.instance, state: "lost", pid: null });
    case "attempt":
      return { ...state, attempt: event.attempt, attemptAt: event.t, world: event.world };
    case "adopted":
    case "rankExited":
    case "balanceLost":
      return state;
    case "alarm":
      return {
        ...state,
        incidents: [
          ...state.incidents,
          {
            id: event.id,
            t: event.t,
            attempt: event.attempt,
            alarm: event.alarm,
            remedy: null,
            recovered: null,
            checkpointStep: state.checkpoint?.step ?? 0,
          },
        ],
      };
    case "remedy":
      return withIncident(state, event.id, (one) => ({ ...one, remedy: event.remedy }));
    case "recovered": {
      const { step, seconds, redone } = event;
      return withIncident(state, event.id, (one) => ({ ...one, recovered: { step, seconds, redone } }));
    }
    case "checkpoint":
      return { ...state, checkpoint: { step: event.step, path: event.path, bytes: event.bytes } };
    case "balance":
    case "relocated":
    case "balanceGain":
    case "memoryForecast":
    case "placed":
      return { ...state, balance: reduceBalance(state.balance, event) };
    case "stopAsked":
      return { ...state, stopAsked: true };
    case "trained":
      return { ...state, trainedStep: event.step };
    case "ended":
      return { ...state, ended: { outcome: event.outcome, verdict: event.verdict, t: event.t } };
    default:
      return unknownEvent(state, event);
  }
}

export const replay = (events: readonly JournalEvent[]): RunState => events.reduce(reduce, EMPTY);

/** An event that a newer version wrote: kept in the file, without effect here. */
function unknownEvent(state: RunState, _event: never): RunState {
  return state;
}

const withPhase = (state: RunState, phase: PhaseName, value: PhaseState): RunState => ({
  ...state,
  phases: { ...state.phases, [phase]: value },
});
const withAgent = (state: RunState, agent: string, value: AgentRecord): RunState => ({
  ...state,
  agents: { ...state.agents, [agent]: value },
});
const withIncident = (state: RunState, id: number, change: (one: Incident) => Incident): RunState => ({
  ...state,
  incidents: state.incidents.map((one) => (one.id === id ? change(one) : one)),
});
