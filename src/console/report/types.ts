import type { Text } from "../../base/index.ts";
import type { Evaluation, Verdict } from "../../evaluate/index.ts";

/** Everything a report shows, as plain data. A part that was not measured is null or empty, and the report says so. */
export type ReportInput = {
  readonly run: {
    readonly name: string;
    readonly id: string;
    readonly stage: string;
    /** Seconds since 1970. */
    readonly started: number | null;
    readonly finished: number | null;
    readonly outcome: RunOutcome;
    /** What to type to get the same run. */
    readonly command: string;
  };
  readonly asked: { readonly facts: readonly Fact[]; readonly recipe: string };
  readonly funnel: readonly FunnelStep[];
  readonly memory: MemoryPart | null;
  readonly training: TrainingPart | null;
  readonly experts: ExpertsPart | null;
  readonly timeline: readonly TimelineEvent[];
  readonly evaluation: {
    readonly result: Evaluation;
    readonly examples: readonly Example[];
    /** Names of groups for a person, by key; a key without one is shown as it is. */
    readonly names: Readonly<Record<string, Text>>;
  } | null;
  readonly lineage: readonly LineageNode[];
  readonly versions: readonly { readonly name: string; readonly value: string }[];
};

export type RunOutcome = "done" | "failed" | "stopped" | "running";
export type Fact = { readonly label: Text; readonly value: Text };

/** One step of the data: what came in, what left, and why the rest was dropped. */
export type FunnelStep = {
  readonly name: Text;
  readonly unit: Text;
  readonly in: number;
  readonly out: number;
  readonly dropped: readonly { readonly reason: Text; readonly count: number }[];
};

/** `buffers`: gathered weights, collectives, workspace; `other`: the allocator's fragments and the framework. */
export const CATEGORIES = [
  "weights",
  "gradients",
  "optimizer",
  "activations",
  "logits",
  "buffers",
  "other",
] as const;
export type Category = (typeof CATEGORIES)[number];

export type MemoryPart = {
  /** The layout in one sentence, and why it was chosen. */
  readonly layout: Text;
  readonly why: readonly Text[];
  /** Other legal layouts that were weighed, fastest first, with the predicted seconds of a step. */
  readonly others: readonly {
    readonly name: string;
    readonly seconds: number;
    readonly freeBytes: number | null;
    readonly why: Text;
  }[];
  readonly capacityBytes: number | null;
  readonly measured: "device" | "process";
  readonly ranks: readonly {
    readonly rank: number;
    /** Its place, e.g. "pp 0 · ep 1". */
    readonly place: string;
    readonly planned: { readonly [C in Category]?: number };
    /** Greatest that was measured in training: of the device's tensors, or, where none are counted (CPU), of the whole process. */
    readonly measuredPeakBytes: number | null;
  }[];
};

/** Least, greatest and last value of a bucket of steps: `[x, min, max, last, values that are no number]`. */
export type Point = readonly [number, number | null, number | null, number | null, number];
export type Curve = {
  readonly key: string;
  readonly title: Text;
  readonly unit: string;
  readonly points: readonly Point[];
  /** Steps that a fault threw away and that were trained again: `[step, value]`. */
  readonly lost: readonly (readonly [number, number])[];
  /** Drawn on a logarithmic axis at first. */
  readonly log: boolean;
};
export type Mark = { readonly step: number; readonly kind: "fault" | "checkpoint"; readonly label: Text };
export type TrainingPart = {
  readonly curves: readonly Curve[];
  readonly marks: readonly Mark[];
  readonly steps: number;
  readonly tokens: number | null;
  readonly seconds: number | null;
  /** Time spent on steps that count / wall time of training. */
  readonly effectiveRatio: number | null;
};

export type ExpertsPart = {
  readonly layers: readonly number[];
  readonly experts: number;
  /** Tokens per layer and expert, row by row, at a few of the steps. */
  readonly frames: readonly { readonly step: number; readonly counts: readonly number[] }[];
  /** Greatest / mean load: of the worst layer and averaged over layers, at every step that was measured. */
  readonly ratio: readonly { readonly step: number; readonly worst: number; readonly mean: number }[];
  /** Least greatest / mean that any placement on these ranks could reach, if it was worked out. */
  readonly bound: number | null;
  readonly balance: BalancePart | null;
};

/** Where experts stood and what was done about it. Ratios are of the busiest rank to the mean. */
export type BalancePart = {
  /** Of the layer that was worst at each step: as it was, the least possible, as the last move had promised. */
  readonly ranks: readonly {
    readonly step: number;
    readonly realised: number;
    readonly bound: number;
    readonly planned: number | null;
  }[];
  /** Of the last step: largest over layers, dead experts of all layers. Entropy: least over layers, 1 is even. */
  readonly last: {
    readonly maxVio: number;
    readonly cv: number;
    readonly entropy: number;
    readonly dead: number;
    /** Rows dropped in all steps; null: not told. */
    readonly dropped: number | null;
    /** Seconds in the all-to-all over ranks, and shares of the rows by link; null: not told. */
    readonly exchange: {
      readonly least: number;
      readonly median: number;
      readonly most: number;
      readonly rank: number;
      readonly shares: readonly [rank: number, node: number, network: number];
    } | null;
    /** What each link class took of it, in the newest step that timed them. */
    readonly links: Text | null;
  } | null;
  readonly decisions: readonly {
    readonly step: number;
    readonly line: Text;
    readonly planned: number | null;
    readonly realised: number | null;
    readonly bytes: number | null;
    readonly forecastSeconds: number;
    readonly measuredSeconds: number | null;
    /** Steps until the move had paid for itself; null: not measured, or it never does. */
    readonly measuredPayback: number | null;
    readonly moved: boolean;
  }[];
  readonly moves: number;
  readonly bytes: number;
  readonly wonSeconds: number;
  readonly forecastWonSeconds: number;
  readonly placed: Text | null;
};

type TimelineKind = "phase" | "fault" | "alarm" | "remedy" | "healed" | "checkpoint" | "note";
export type TimelineEvent = {
  readonly t: number;
  /** End of a phase, or of a fault when training went on. */
  readonly end: number | null;
  readonly kind: TimelineKind;
  readonly title: Text;
  readonly detail: Text | null;
  readonly step: number | null;
};

type ExampleAnswer = {
  readonly text: string;
  readonly verdict: Verdict;
  readonly reason: string;
  readonly objective: number | null;
};
export type Example = {
  readonly id: string;
  readonly family: string;
  readonly language: string;
  readonly difficulty: string;
  readonly problem: string;
  readonly reference: string;
  readonly objective: number | null;
  readonly base: ExampleAnswer;
  readonly candidate: ExampleAnswer;
};

/** A thing that was made: its content hash and what it was made from. */
export type LineageNode = {
  readonly name: Text;
  readonly hash: string;
  readonly from: readonly string[];
  readonly detail: string;
};
