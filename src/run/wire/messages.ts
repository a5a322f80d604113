import type { Text } from "../../base/index.ts";

/** What every message of a worker carries. `t` is seconds since 1970; `attempt` counts the spawns of all ranks from 1. */
export type Envelope = {
  readonly v: 1;
  readonly run: string;
  readonly rank: number;
  readonly step: number;
  readonly t: number;
  readonly attempt: number;
};

/** A tensor in JSON: little-endian bytes in base 64. */
export type WireArray = { readonly dtype: string; readonly shape: readonly number[]; readonly b64: string };

type Of<K extends string, F> = Envelope & { readonly kind: K } & F;

export type StepMessage = Of<
  "step",
  {
    readonly loss: number;
    readonly mainLoss?: number;
    readonly mtpLoss?: number;
    readonly indexerLoss?: number;
    readonly gradNorm: number;
    readonly learningRate: number;
    readonly tokens: number;
    readonly seconds: number;
    /** Processor seconds of the rank's process since it began. */
    readonly processorSeconds?: number;
    readonly cursor: number;
    readonly spans?: Readonly<Record<string, number>>;
    readonly memory?: Readonly<Record<string, number>>;
    /** (token, expert) rows that this rank's experts computed, and those that no rank did. */
    readonly expertPairs?: number;
    readonly droppedPairs?: number;
    /** Rows that this rank's routers sent out: to itself, to others on its node, to other nodes. */
    readonly sentPairs?: readonly number[];
    /** Bytes that its all-to-alls sent over these links, in a step that timed them one by one (spans `allToAll.rank` ...), else zeros. */
    readonly linkBytes?: readonly number[];
    readonly dropped?: number;
  }
>;

/** One number a link class: rows that stay on their rank, go to others on its node, go to other nodes. */
export type ByLink = { readonly rank: number; readonly node: number; readonly network: number };

export type LinkTimes = {
  readonly step: number;
  readonly allToAllSeconds: number;
  readonly seconds: ByLink;
  readonly bytes: ByLink;
};

/**
 * What the controller works out of a step's loads and keeps beside the telemetry; columns have one value a layer.
 * Ratios are of the busiest rank to the mean: as it was, the least possible, as the last move promised, as chance alone makes it.
 */
export type BalanceMessage = Of<
  "balance",
  {
    readonly layers: readonly number[];
    readonly realised: readonly number[];
    readonly bound: readonly number[];
    readonly planned: readonly (number | null)[];
    readonly noiseFloor: readonly number[];
    readonly maxVio: readonly number[];
    readonly cv: readonly number[];
    readonly entropy: readonly number[];
    readonly deadExperts: readonly number[];
    /** Rows that the router asked for and no expert computed: none, or something is broken. null: not told. */
    readonly droppedRows: number | null;
    /** Seconds in the all-to-all, over ranks, and the rank that spent most; each rank's own are in its steps. */
    readonly allToAllSeconds: {
      readonly least: number;
      readonly median: number;
      readonly most: number;
      readonly rank: number;
    } | null;
    /** Rows of all ranks by the link that they went over; null: not told. */
    readonly sentRows: ByLink | null;
    /**
     * The newest step that timed links one by one, mean over ranks: seconds in the all-to-all and, of these, on each link (the rest is
     * waiting for other ranks, and laying rows out by link); bytes sent over each. null or absent: none yet.
     */
    readonly links?: LinkTimes | null;
    readonly line: Text | null;
  }
>;

/** Messages of a worker that the supervisor acts on. Others are kept for the store and the report as they came. */
export type KnownMessage =
  | Of<"hello", { readonly pid: number }>
  | Of<"phase", { readonly name: string }>
  | StepMessage
  | Of<"load", { readonly layers: readonly number[]; readonly counts: WireArray }>
  /** Expert of every slot, by layer of one pipeline stage: at the start of an attempt and after every move. */
  | Of<"placement", { readonly layers: Readonly<Record<string, readonly number[]>> }>
  /** One rank's part of a move: bytes that it sent, slots that changed on it. */
  | Of<
      "moved",
      {
        readonly bytes: number;
        readonly slots: number;
        readonly layers: readonly number[];
        readonly seconds: number;
      }
    >
  /** What moves cost, tried on rows that go to the next rank and come back: [layers, bytes that a rank sent, seconds] each. */
  | Of<"rehearsed", { readonly samples: readonly (readonly number[])[] }>
  | Of<"parity", { readonly ok: boolean; readonly maxRelative: number }>
  | Of<"nograd", { readonly parameters: readonly string[] }>
  | Of<"saving", object>
  | Of<
      "saved",
      {
        readonly path: string;
        readonly stallSeconds: number;
        readonly seconds: number;
        readonly bytes: number;
      }
    >
  | Of<"ack", { readonly id: string; readonly do: string; readonly ok: boolean; readonly detail?: unknown }>
  | Of<"fatal", { readonly code: string; readonly message: string; readonly traceback?: string }>
  | Of<"log", { readonly level: string; readonly text: string }>
  | Of<"done", object>;

/** A worker's message: `known` when its kind and fields are those above; the raw one is kept either way. */
export type WorkerMessage = Envelope & { readonly kind: string; readonly [field: string]: unknown };

/** An order to the workers, given to rank 0 and obeyed by all at the next step boundary. */
export type WorkerCommand = {
  readonly kind: "command";
  readonly id: string;
  readonly do: "checkpoint" | "stop" | "relocate" | "rehearse";
  readonly [argument: string]: unknown;
};

export type RankState = "starting" | "running" | "exited";
/** One rank as its agent sees it. */
export type RankView = {
  readonly rank: number;
  readonly pid: number | null;
  readonly state: RankState;
  readonly code: number | null;
  readonly signal: number | null;
};

/** One rank's process as the kernel sees it: state letter (R, S, D, T ...) and processor seconds used. */
export type ProcessView = { readonly rank: number; readonly state: string; readonly cpuSeconds: number };

/** What an agent tells the controller. Messages with `seq` are kept by the agent until acknowledged. */
export type AgentMessage =
  | {
      readonly kind: "join";
      readonly token: string;
      readonly agent: string;
      readonly instance: number;
      readonly pid: number;
      readonly host: string;
      readonly attempt: number;
      readonly ranks: readonly RankView[];
      readonly zygote: boolean;
    }
  | { readonly kind: "zygote"; readonly torch: string; readonly transformers: string; readonly pid: number }
  | { readonly kind: "zygote_lost"; readonly code: number | null; readonly text: string }
  | { readonly kind: "master"; readonly attempt: number; readonly host: string; readonly port: number }
  | { readonly kind: "spawned"; readonly attempt: number; readonly rank: number; readonly pid: number }
  | {
      readonly kind: "exited";
      readonly seq: number;
      readonly attempt: number;
      readonly rank: number;
      readonly code: number | null;
      readonly signal: number | null;
      readonly t: number;
    }
  | { readonly kind: "telemetry"; readonly seq: number; readonly message: WorkerMessage }
  | {
      readonly kind: "beat";
      readonly t: number;
      readonly disk: { readonly freeBytes: number; readonly totalBytes: number } | null;
      readonly processes: readonly ProcessView[];
      readonly dropped: number;
    };

/** What the controller tells an agent. */
export type ControllerMessage =
  | { readonly kind: "welcome"; readonly epoch: number }
  | { readonly kind: "refused"; readonly why: string }
  | { readonly kind: "master"; readonly attempt: number }
  | {
      readonly kind: "spawn";
      readonly attempt: number;
      readonly spec: string;
      readonly ranks: readonly { readonly rank: number; readonly env: Readonly<Record<string, string>> }[];
    }
  | { readonly kind: "kill"; readonly attempt: number; readonly signal: number }
  | { readonly kind: "command"; readonly rank: number; readonly command: WorkerCommand }
  | { readonly kind: "ack"; readonly seq: number }
  | { readonly kind: "quit" };

/** What a person's command asks of the controller of a run. */
export type ClientMessage = {
  readonly kind: "client";
  readonly token: string;
  readonly do: "stop" | "stop_now" | "checkpoint" | "status";
};

/** What the zygote says on its stdout. */
export type ZygoteMessage =
  | { readonly kind: "ready"; readonly torch: string; readonly transformers: string; readonly pid: number }
  | { readonly kind: "spawned"; readonly rank: number; readonly pid: number }
  | {
      readonly kind: "exited";
      readonly rank: number;
      readonly pid: number;
      readonly code: number | null;
      readonly signal: number | null;
    };
