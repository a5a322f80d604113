import type { Text } from "../../../src/base/index.ts";
import type { Engine, Plan, WhatIf } from "../../../src/layout/index.ts";

/** A question from the page: everything that its controls say. */
export type Ask = {
  readonly id: number;
  readonly mode: "drag" | "full";
  readonly modelKey: string;
  readonly config: unknown;
  readonly device: string;
  readonly devices: number;
  /** Factors on the preset's memory and link bandwidths. */
  readonly memory: number;
  readonly network: number;
  readonly engine: Engine;
  readonly sequence: number;
  readonly batch: number;
  readonly imbalance: number;
};

/** [pipeline rank, start, end, 0 forward 1 backward 2 weight, chunk, micro-batch] */
export type Bar = readonly [number, number, number, number, number, number];

export type Answer =
  | { readonly id: number; readonly ok: false; readonly error: Text; readonly ms: number }
  | {
      readonly id: number;
      readonly ok: true;
      readonly ms: number;
      readonly full: boolean;
      readonly plan: Plan;
      readonly capacity: readonly number[];
      readonly bars: readonly Bar[];
      readonly whatIfs?: readonly WhatIf[];
      readonly exports: Readonly<Record<string, { readonly ok: boolean; readonly text: string }>>;
    };
