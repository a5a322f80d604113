/** What the memory model answers. Bytes throughout; 1 MiB = 2^20. */

/**
 * Whose allocations are predicted.
 * - `megatron`: Megatron-Core with Transformer Engine: bf16 weights, one gradient buffer, distributed optimizer;
 * - `tessera`: our engine: transformers classes in eager mode under FSDP2.
 */
export type EngineKind = "megatron" | "tessera";

export const CATEGORIES = [
  "weights",
  "gradients",
  "optimizer",
  "activations",
  "unshard",
  "communication",
  "loss",
  "workspace",
] as const;
/**
 * - `activations`: tensors kept for backward, at the peak; `loss`: logits and what the loss keeps;
 * - `unshard`: weights gathered for use and gradients not yet scattered (FSDP, ZeRO-3);
 * - `communication`: buffers of collectives that live inside the tensor allocator;
 * - `workspace`: temporaries of the operator that runs at the peak, and the engine's fixed scratch tensors.
 */
export type Category = (typeof CATEGORIES)[number];
export type Bytes = Readonly<Record<Category, number>>;

/** The moment of a rank's peak: which pass of which virtual stage, with what still in flight. */
export type PeakMoment = {
  readonly pass: "forward" | "backward" | "step";
  readonly stage: number;
  /** Micro-batches whose activations are kept, by chunk of this rank. */
  readonly live: readonly number[];
};

export type RankMemory = {
  /** Bytes by category at the moment of the peak: they add up to `allocated`. */
  readonly bytes: Bytes;
  /** Peak of what tensors occupy (torch.cuda.max_memory_allocated). */
  readonly allocated: number;
  /** The allocator's share on top: fitted, see `fragmentation.ts`. */
  readonly fragmentation: number;
  /** Peak of what the allocator holds (torch.cuda.max_memory_reserved) = allocated + fragmentation. */
  readonly reserved: number;
  /** Outside the allocator: device context, communicators, library workspaces. */
  readonly framework: number;
  /** Host bytes of swapped optimizer state and offloaded activations. */
  readonly host: number;
  readonly peak: PeakMoment;
};

/** Ranks with equal memory. `ranks` is the count; the lowest member stands for all. */
export type RankClass = {
  readonly first: number;
  readonly count: number;
  readonly ppRank: number;
  readonly memory: RankMemory;
};

export type MemoryReport = {
  readonly world: number;
  readonly classes: readonly RankClass[];
  /** Class index of every rank. */
  readonly classOf: Uint16Array | Uint32Array;
  /** Index of the class that needs most (reserved + framework). */
  readonly worst: number;
};
