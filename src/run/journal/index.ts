/** The journal: what a run decided, on disk before it acts, and the state that it adds up to. */
export type { BalanceState } from "./balance.ts";
export {
  type Alarm,
  type BalanceCost,
  type BalanceLayer,
  type BalanceSide,
  type JournalEvent,
  type NewEvent,
  type Outcome,
  type PhaseName,
  PHASES,
  type Remedy,
  type Verdict,
} from "./events.ts";
export { Journal, JOURNAL_FILE, readJournal } from "./journal.ts";
export {
  EMPTY,
  reduce,
  replay,
  type RunState,
} from "./reduce.ts";
