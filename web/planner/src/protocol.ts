import type { Text } from "../../../src/base/index.ts";
import type {
  FallbackPlan,
  Layout,
  MemoryReport,
  Plan,
  PlannedTime,
  RejectedRow,
  Training,
  WhatIf,
} from "../../../src/layout/index.ts";
import type { Controls } from "./state.ts";

/** What decides the family that a moving slider looks at: the last winner. */
export type Winner = { readonly layout: Layout; readonly microBatch: number };

/**
 * - `drag`: answer within a frame or two, near the last winner;
 * - `full`: the whole space, then what nodes lost or a little more of anything would change;
 * - `look`: one layout of the list in detail;
 * - `why`: rejected layouts whose name holds the words;
 * - `stop`: something newer is under way, let go of what is left to answer.
 */
export type Question =
  /** `warm`: only get ready, answer nothing. */
  | { readonly mode: "drag"; readonly winner: Winner; readonly warm?: boolean }
  | { readonly mode: "full" }
  | { readonly mode: "look"; readonly look: Winner }
  | { readonly mode: "why"; readonly words: string }
  | { readonly mode: "stop" };
export type Ask = { readonly id: number; readonly controls: Controls } & Question;

/** [pipeline rank, start, end, 0 forward 1 backward 2 weight, chunk, micro-batch] */
export type Bar = readonly [number, number, number, number, number, number];

/** One layout in pictures. */
export type View = {
  readonly name: string;
  readonly layout: Layout;
  readonly training: Training;
  readonly time: PlannedTime;
  readonly memory: MemoryReport;
  readonly free: number;
  /** Bytes and title of the device under every pipeline rank. */
  readonly capacity: readonly number[];
  readonly devices: readonly string[];
  readonly bars: readonly Bar[];
};

export type Failure = { readonly code: string; readonly message: Text; readonly next?: Text };
export type Export = { readonly ok: boolean; readonly text: Text };

export type Answer = { readonly id: number } & (
  | { readonly kind: "failed"; readonly full: boolean; readonly failure: Failure }
  | {
      readonly kind: "plan";
      readonly full: boolean;
      readonly ms: number;
      readonly plan: Plan;
      readonly view: View;
    }
  | { readonly kind: "look"; readonly view: View }
  | { readonly kind: "exports"; readonly exports: Readonly<Record<string, Export>> }
  | { readonly kind: "fallbacks"; readonly fallbacks: readonly FallbackPlan[] }
  | { readonly kind: "whatIfs"; readonly whatIfs: readonly WhatIf[] }
  | { readonly kind: "rejected"; readonly rows: readonly RejectedRow[]; readonly total: number }
);
