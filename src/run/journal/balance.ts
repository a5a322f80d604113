import type { Text } from "../../base/index.ts";
import type { JournalEvent } from "./events.ts";

type Of<K extends JournalEvent["kind"]> = Extract<JournalEvent, { kind: K }>;

/** A decision with what came of it. Slot tables stay in the journal: here is what is shown and what a next controller needs. */
export type BalanceDecision = Omit<Of<"balance">, "kind" | "layers"> & {
  readonly layers: readonly {
    readonly layer: number;
    readonly before: number;
    readonly after: number;
    readonly bound: number;
  }[];
  /** null: not told, not obeyed yet, or nothing to obey. */
  readonly moved: Pick<Of<"relocated">, "ok" | "why" | "seconds" | "bytes" | "step"> | null;
  readonly gain: Omit<Of<"balanceGain">, "kind" | "t" | "id" | "attempt"> | null;
};

export type BalanceState = {
  /** Newest last; `stay` and `advise` are kept only while nothing newer was decided. */
  readonly decisions: readonly BalanceDecision[];
  readonly lastId: number;
  readonly memory: Omit<Of<"memoryForecast">, "kind"> | null;
  readonly placed: Text | null;
};

export const NO_BALANCE: BalanceState = Object.freeze({
  decisions: [],
  lastId: 0,
  memory: null,
  placed: null,
});

/** Moves that a state remembers: a run has few, and what is older is in the journal. */
const KEPT = 200;

export function reduceBalance(
  state: BalanceState,
  event: Of<"balance" | "relocated" | "balanceGain" | "memoryForecast" | "placed">,
): BalanceState {
  switch (event.kind) {
    case "balance": {
      const { kind: _kind, layers, ...rest } = event;
      const short = layers.map(({ layer, before, after, bound }) => ({ layer, before, after, bound }));
      const kept = state.decisions.filter((one) => one.action === "act");
      const decisions = [...kept, { ...rest, layers: short, moved: null, gain: null }].slice(-KEPT);
      return { ...state, decisions, lastId: event.id };
    }
    case "relocated": {
      const { ok, why, seconds, bytes, step } = event;
      return withDecision(state, event.id, { moved: { ok, why, seconds, bytes, step } });
    }
    case "balanceGain": {
      const { kind: _kind, t: _t, id, attempt: _attempt, ...gain } = event;
      return withDecision(state, id, { gain });
    }
    case "memoryForecast": {
      const { kind: _kind, ...memory } = event;
      return { ...state, memory };
    }
    case "placed":
      return { ...state, placed: event.line };
    default:
      return event satisfies never;
  }
}

const withDecision = (state: BalanceState, id: number, change: Partial<BalanceDecision>): BalanceState => ({
  ...state,
  decisions: state.decisions.map((one) => (one.id === id ? { ...one, ...change } : one)),
});
