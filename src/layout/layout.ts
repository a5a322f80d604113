/**
 * The layout: which piece of the model lies on which rank. Same field names in recipe, plan, worker spec and JSON.
 *
 * `world = pp * tp * cp * dpReplicate * dpShard`. Experts fold over the same ranks of a stage: ep * etp divides
 * `tp * cp * dpReplicate * dpShard`. Ranks count tp fastest, then cp, then data, then pipeline; our own engine
 * (tp = cp = 1) counts ep fastest: `rank = ((ppRank * dpReplicate + replica) * efsdp + efsdpRank) * ep + epRank`.
 */

export const SCHEDULES = ["gpipe", "1f1b", "interleaved1f1b", "zbh1", "zbv", "dualpipev"] as const;
export type Schedule = (typeof SCHEDULES)[number];

/** Regions that an engine can drop after the forward pass and compute again before the backward pass. */
export const RECOMPUTE_REGIONS = [
  "coreAttention",
  "attention",
  "upProjection",
  "norm",
  "mlp",
  "moe",
  "moeActivation",
  "sharedExperts",
  "hyperConnection",
] as const;
export type RecomputeRegion = (typeof RECOMPUTE_REGIONS)[number];

export type Recompute =
  | { readonly kind: "none" }
  /** `layers`: how many of the stage's layers keep only their input; absent: all of them. */
  | { readonly kind: "full"; readonly layers?: number }
  | { readonly kind: "selective"; readonly regions: readonly RecomputeRegion[] };

export type Offload = {
  /** Share (0..1) of the optimizer state that lives on the host between steps. */
  readonly optimizer: number;
  /** Regions whose saved tensors wait on the host; "layerInput" moves what full recompute keeps. */
  readonly activations: readonly (RecomputeRegion | "layerInput")[];
};

export type Layout = {
  readonly pp: number;
  readonly vpp: number;
  readonly tp: number;
  readonly cp: number;
  readonly dpReplicate: number;
  readonly dpShard: number;
  readonly ep: number;
  readonly etp: number;
  /** Norms and residuals are cut along the sequence over tp. */
  readonly sequenceParallel: boolean;
  readonly contextParallel: "ring" | "allGather" | "ulysses";
  /** What dpShard cuts: 0 nothing, 1 optimizer, 2 also gradients, 3 also weights (FSDP2). */
  readonly zero: 0 | 1 | 2 | 3;
  /** ZeRO-3 only: give full weights back after each forward, or keep them for the step. */
  readonly reshardAfterForward: boolean;
  readonly schedule: Schedule;
  /**
   * Layers of each virtual stage, in order; pp * vpp entries. Virtual stage s lives on pp rank s % pp, except in the
   * V-shaped schedules (zbv, dualpipev) where the second half walks back. The embedding belongs to the first, the
   * final norm, head and MTP modules to the last one.
   */
  readonly stages: readonly (readonly number[])[];
  readonly recompute: Recompute;
  /** Overrides `recompute` for single virtual stages; one entry a virtual stage. */
  readonly stageRecompute?: readonly Recompute[];
  /** Places for experts on each ep rank, spare ones for replicas included; absent: experts / ep. */
  readonly slotsPerRank?: number;
  readonly offload: Offload;
};

export type WeightFormat = "float32" | "bfloat16" | "fp8" | "mxfp8" | "fp4";
export type OptimizerKind = "adamw" | "muon" | "sgd";

export type Precision = {
  readonly weights: WeightFormat;
  /** Format of routed experts when it differs from `weights`. */
  readonly experts?: WeightFormat;
  readonly gradients: "float32" | "bfloat16";
  /** Copy that the optimizer updates: `none` when the weights are that copy already. `remainder` keeps the lower 16 bits only. */
  readonly master: "float32" | "remainder" | "none";
  readonly moments: "float32" | "bfloat16" | "fp8";
  readonly activations: "bfloat16" | "float32";
  /** Tokens sent to experts. */
  readonly dispatch: "bfloat16" | "float32" | "fp8";
};

/** The part of a recipe that memory and time depend on. */
export type Training = {
  /** Tokens of one sequence, over all cp ranks. */
  readonly sequence: number;
  /** Sequences a rank takes at once. */
  readonly microBatch: number;
  /** Sequences of one optimizer step, over all ranks. */
  readonly globalBatch: number;
  /**
   * Empty sequences (no loss, no weight in the mean) may be added up to this share of the batch where it does not divide over the
   * ranks; absent: it must divide.
   */
  readonly padBatch?: number;
  readonly precision: Precision;
  readonly optimizer: OptimizerKind;
  /** Train the multi-token-prediction modules too. */
  readonly mtp: boolean;
  /** Experts take at most this multiple of their even share and are padded to it; absent: they take what comes. */
  readonly capacityFactor?: number;
};

export const BF16_MIXED: Precision = {
  weights: "bfloat16",
  gradients: "float32",
  master: "float32",
  moments: "float32",
  activations: "bfloat16",
  dispatch: "bfloat16",
};

export const FLOAT32: Precision = {
  weights: "float32",
  gradients: "float32",
  master: "none",
  moments: "float32",
  activations: "float32",
  dispatch: "float32",
};

/** Every degree 1, nothing sharded, nothing recomputed; spread over it to write the fields that matter. */
export const SINGLE: Omit<Layout, "stages"> = {
  pp: 1,
  vpp: 1,
  tp: 1,
  cp: 1,
  dpReplicate: 1,
  dpShard: 1,
  ep: 1,
  etp: 1,
  sequenceParallel: true,
  contextParallel: "allGather",
  zero: 1,
  reshardAfterForward: true,
  schedule: "1f1b",
  recompute: { kind: "none" },
  offload: { optimizer: 0, activations: [] },
};

export const worldOf = (l: Layout): number => l.pp * l.tp * l.cp * l.dpReplicate * l.dpShard;
/** Ranks of one pipeline stage. */
export const stageRanks = (l: Layout): number => l.tp * l.cp * l.dpReplicate * l.dpShard;
/** Ranks over which one expert's optimizer state can still be cut. */
export const expertData = (l: Layout): number => stageRanks(l) / (l.ep * l.etp);
/** Micro-batches that one rank runs in a step; no whole number where the batch neither divides nor may be padded. */
export function microBatches(l: Layout, t: Training): number {
  const micros = t.globalBatch / (t.microBatch * l.dpReplicate * l.dpShard);
  if (t.padBatch === undefined) return micros;
  const unit = l.schedule === "interleaved1f1b" ? l.pp : 1;
  return Math.ceil(micros / unit) * unit;
}
/** Empty sequences added to a step so that the batch divides. */
export const paddedSequences = (l: Layout, t: Training): number =>
  microBatches(l, t) * t.microBatch * l.dpReplicate * l.dpShard - t.globalBatch;

const V_SHAPED = new Set<Schedule>(["zbv", "dualpipev"]);

/** Pipeline rank that holds a virtual stage. */
export function stageRank(l: Pick<Layout, "pp" | "schedule">, stage: number): number {
  const turn = Math.floor(stage / l.pp);
  const place = stage % l.pp;
  return V_SHAPED.has(l.schedule) && turn % 2 === 1 ? l.pp - 1 - place : place;
}

/** Layers over virtual stages as evenly as possible, in order; the remainder goes to the first ones. */
export function evenStages(layers: number, stages: number): number[][] {
  const out: number[][] = [];
  let next = 0;
  for (let s = 0; s < stages; s++) {
    const count = Math.floor(layers / stages) + (s < layers % stages ? 1 : 0);
    out.push(Array.from({ length: count }, () => next++));
  }
  return out;
}
