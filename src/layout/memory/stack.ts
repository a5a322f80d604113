/** Stacks whose layers the Megatron-class memory model describes: what differs between them and between their releases. */
import type { MathFormat } from "../../cluster/index.ts";

const MiB = 2 ** 20;

/** What dense products multiply in, and those of experts. */
export type ProductFormats = { readonly compute: MathFormat; readonly expertCompute: MathFormat };

/** What differs between releases of the stack. */
export type MegatronStack = {
  /** Scratch of Transformer Engine's cuBLAS calls; four more for grouped GEMMs, one a stream. */
  readonly engineScratch: number;
  readonly groupedScratch: number;
  /** PyTorch's own cuBLAS scratch: one for the forward thread and one for the backward thread; only the head uses it. */
  readonly torchScratch: number;
  /**
   * With gradients accumulated inside the GEMM, autograd still wants a gradient to hand over: a placeholder of the
   * weight's shape. Since TE 2.3 one is kept for each shape of linear layers, since 2.10 of grouped ones too.
   */
  readonly linearPlaceholders: boolean;
  /** `shape`: as above. `layer`: every local expert of the layer in backward gets one (4 bytes an element; inferred). */
  readonly groupedPlaceholders: "shape" | "layer" | "none";
  /** The head, no layer of Transformer Engine: its placeholder stays for good, or to the end of the backward pass. */
  readonly headPlaceholder: "kept" | "backward" | "none";
  /**
   * Fused: the gradient replaces the logits in place. Plain: an fp32 softmax is kept and the gradient is a new tensor. Float: torch's
   * own on an fp32 copy of the logits, whose log-softmax is kept (over tp: torch.distributed.tensor.parallel.loss_parallel).
   */
  readonly crossEntropy: "fused" | "plain" | "float";
  /** Products in 8 bits keep the cast of their input (Transformer Engine), or the input (torchao). */
  readonly keepsCasts: boolean;
  /** Rows of the vocabulary are padded to this times tp (`--make-vocab-size-divisible-by`). */
  readonly vocabularyMultiple: number;
};

/** Transformer Engine 2.11 (`base.py`: 32 MiB scratch from Hopper on) and PyTorch 2.10 (8.125 MiB a handle). */
export const MEGATRON_2026: MegatronStack = {
  engineScratch: 32 * MiB,
  groupedScratch: 4 * 32 * MiB,
  torchScratch: 2 * 8.125 * MiB,
  linearPlaceholders: true,
  groupedPlaceholders: "shape",
  headPlaceholder: "kept",
  crossEntropy: "fused",
  keepsCasts: true,
  vocabularyMultiple: 128,
};

/** A year earlier, on Ampere: small scratch, no placeholders of grouped layers, Megatron's own cross-entropy. */
export const MEGATRON_2025: MegatronStack = {
  ...MEGATRON_2026,
  engineScratch: 4 * MiB,
  groupedScratch: 4 * 4 * MiB,
  groupedPlaceholders: "layer",
  headPlaceholder: "backward",
  crossEntropy: "plain",
};

/** Plain PyTorch under FSDP2 (torchtitan, NeMo AutoModel): no Transformer Engine scratch or placeholders, the loss in fp32. */
export const FSDP2_STACK: MegatronStack = {
  engineScratch: 32 * MiB,
  groupedScratch: 0,
  torchScratch: 2 * 8.125 * MiB,
  linearPlaceholders: false,
  groupedPlaceholders: "none",
  headPlaceholder: "none",
  crossEntropy: "float",
  keepsCasts: false,
  vocabularyMultiple: 1,
};
