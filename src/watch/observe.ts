import { isFinite, number, type Signal } from "../run/index.ts";
import type { WatchState } from "./state.ts";

const STEPS_KEPT = 50;
const DISK_SECONDS = 300;

/** The state after a signal, before any rule looks at it. */
export function observe(state: WatchState, signal: Signal): WatchState {
  switch (signal.kind) {
    case "attempt":
      return {
        ...state,
        working: true,
        attempt: signal.attempt,
        progressAt: signal.t,
        steps: {},
        fatals: {},
        notFinite: null,
        processes: [],
        processesBefore: [],
      };
    case "idle":
      return { ...state, working: false };
    case "worker":
      return worker(state, signal.message, signal.t);
    case "processes":
      return { ...state, processesBefore: state.processes, processes: signal.processes };
    case "disk":
      return {
        ...state,
        disk: [
          ...state.disk.filter((one) => signal.t - one.t <= DISK_SECONDS),
          { t: signal.t, freeBytes: signal.freeBytes },
        ],
      };
    case "woke":
      return { ...state, progressAt: Math.min(signal.t, state.progressAt + signal.seconds) };
    default:
      return state;
  }
}

function worker(
  state: WatchState,
  message: Extract<Signal, { kind: "worker" }>["message"],
  t: number,
): WatchState {
  if (message.attempt !== state.attempt) return state;
  switch (message.kind) {
    case "step": {
      const newest = Math.max(0, ...Object.values(state.steps));
      const bad = isFinite(message)
        ? state.notFinite
        : { step: message.step, loss: number(message.loss), gradNorm: number(message.gradNorm) };
      const seconds = number(message.seconds);
      return {
        ...state,
        progressAt: t,
        steps: { ...state.steps, [message.rank]: message.step },
        stepSeconds:
          message.step > newest && seconds > 0
            ? [...state.stepSeconds, seconds].slice(-STEPS_KEPT)
            : state.stepSeconds,
        notFinite: bad,
      };
    }
    case "fatal":
      return { ...state, fatals: { ...state.fatals, [message.rank]: message } };
    case "phase":
    case "saved":
    case "parity":
    case "done":
      return { ...state, progressAt: t };
    default:
      return state;
  }
}
