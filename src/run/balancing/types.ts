import type { Loads, MoveSample, Placement } from "../../experts/index.ts";
import type { NewEvent } from "../journal/index.ts";
import type { Recipe } from "../recipe/index.ts";
import type { LinkTimes, WorkerCommand } from "../wire/index.ts";
import type { Answer, Question } from "./question.ts";

export type BalancePolicy = Recipe["balance"];

/** Where experts can stand and what it costs, as far as recipe, layout and model tell. */
export type ExpertTopology = {
  readonly world: number;
  readonly pp: number;
  /** Ranks of one expert-parallel group, and groups that share a stage's placement, each with its part of the tokens. */
  readonly ep: number;
  readonly groups: number;
  /** Nodes that one group spans, and groups of experts that the router is limited to (1: no such rule). */
  readonly nodes: number;
  readonly routerGroups: number;
  readonly microBatches: number;
  /** Bytes that move with one expert of one layer: weights and both moments, the share of one rank. */
  readonly bytesPerExpert: number;
  /** Bytes of one routed row on its way to an expert, and what is kept of it for the backward pass. */
  readonly rowBytes: number;
  readonly savedBytesPerRow: number;
  /** Micro-batches whose rows are kept at one time; rows of one layer only (recompute) or of all. */
  readonly inFlight: number;
  readonly recompute: boolean;
  /** Samples of a micro-batch. */
  readonly microBatch: number;
};

/** One step as all ranks told it. Per-rank numbers are NaN where a rank's message was dropped. */
export type WholeStep = {
  readonly step: number;
  /** Seconds of the step on rank 0. */
  readonly seconds: number;
  /** When rank 0 told it, by its clock, and when the controller heard the last of it, by its own; seconds since 1970. */
  readonly t: number;
  readonly heardAt: number;
  /** Seconds of rank 0 between the step before and this one, without a checkpoint, and for experts still under way; NaN: not told. */
  readonly boundarySeconds: number;
  /** Tokens per expert of the whole global batch, and where experts stood in this step. */
  readonly loads: Loads;
  readonly placement: Placement;
  /** Pipeline rank of each layer of `loads`. */
  readonly stageOf: readonly number[];
  /** Per rank: seconds of forward and backward outside the all-to-all, inside it, and in the experts alone. */
  readonly busy: Float64Array;
  readonly exchange: Float64Array;
  readonly experts: Float64Array;
  /** Rows that each rank's experts computed, as told. */
  readonly rows: Float64Array;
  /** Rows that were routed and not computed; NaN: not told. */
  readonly dropped: number;
  /** Rows of all ranks that stayed on their rank, went to others on the node, to other nodes; NaN where not told. */
  readonly sent: readonly [number, number, number];
  /** Of a step that timed links one by one, as far as told. */
  readonly links: LinkTimes | null;
  /** Most memory that a rank has used so far; 0: not told. */
  readonly peakBytes: number;
};

export type SteerInput =
  | { readonly kind: "attempt"; readonly attempt: number }
  | { readonly kind: "idle" }
  | { readonly kind: "step"; readonly step: WholeStep }
  | {
      readonly kind: "moved";
      readonly rank: number;
      readonly step: number;
      readonly bytes: number;
      readonly seconds: number;
    }
  | { readonly kind: "rehearsed"; readonly samples: readonly MoveSample[] }
  | {
      readonly kind: "ack";
      readonly id: string;
      readonly step: number;
      readonly ok: boolean;
      readonly why: string | null;
    }
  /** `t`: when the answer was taken up, by the controller's clock. */
  | { readonly kind: "answer"; readonly answer: Answer; readonly t: number }
  | { readonly kind: "lost"; readonly why: string };

export type SteerAct =
  | { readonly do: "ask"; readonly question: Question }
  | { readonly do: "journal"; readonly event: NewEvent }
  | { readonly do: "command"; readonly command: WorkerCommand };
