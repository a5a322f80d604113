import type { Finding, RunState, Signal, Watch } from "../run/index.ts";
import { observe } from "./observe.ts";
import { RULES } from "./rules.ts";
import { type Policy, startWatch, type WatchState } from "./state.ts";

/** One look: the state after the signal and what was found. Pure: the same signals give the same findings. */
export function see(
  before: WatchState,
  signal: Signal,
  run: RunState,
): { readonly state: WatchState; readonly finding: Finding | null } {
  const state = observe(before, signal);
  for (const rule of RULES) {
    const finding = rule(state, signal, run);
    if (finding) return { state: after(state, finding, signal.t), finding };
  }
  return { state, finding: null };
}

/** What a finding changes at once, so that the next signal does not fire it again. */
function after(state: WatchState, { remedy }: Finding, t: number): WatchState {
  if (remedy.do === "prune") return { ...state, prunedAt: state.prunedAt ?? t, warnedAt: t };
  return { ...state, working: false };
}

/** The rules as the controller takes them. */
export function nightWatch(policy: Policy): Watch {
  let state = startWatch(policy);
  return (signal, run) => {
    const seen = see(state, signal, run);
    state = seen.state;
    return seen.finding;
  };
}
