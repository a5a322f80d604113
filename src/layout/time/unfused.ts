/**
 * Memory traffic of code that frameworks leave to element-wise kernels, counted operation by operation from Megatron-Core's
 * `TEGroupedMLP._apply_bias` and `weighted_bias_quick_geglu_impl` (NeMo Automodel adds biases alike). Bytes an element.
 */
type Traffic = { readonly forward: number; readonly backward: number };

/**
 * Bias of the second product, weighted by the router and added per expert. Weights are fp32, so the sum is too: product written (4),
 * sum (2 + 4 read, 4 written), concatenation (4 + 4), back to bf16 (4 + 2). Backward: to fp32 (2 + 4), gradient of the sum (4 + 2),
 * of bias and of weight (4 + 4 + 4 each, with their reductions), joining of the parts (2 + 2).
 */
export const BIAS_BYTES: Traffic = { forward: 28, backward: 40 };

/** Both halves of the activation's input clamped (2 + 2) and joined (2 + 2). Backward: clamps (2 + 2 + 2), halves joined (2 + 2). */
export const CLAMP_BYTES: Traffic = { forward: 8, backward: 10 };

/**
 * Casts of a product's input, with the transpose that the gradient of the weight reads. Blocks of 8 bits: read, written twice. Four
 * bits (Transformer Engine's `NVFP4Quantizer`): read for the two maxima, for the rows, and for the rotated columns, written twice.
 */
export const CAST_BYTES = { fp8: 4, fp4: 7 } as const;
/** Kernels of such a cast. */
export const CAST_KERNELS = { fp8: 1, fp4: 3 } as const;
