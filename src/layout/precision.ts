import { BF16_MIXED, FLOAT32, type Precision } from "./layout.ts";
import type { Traits } from "./time/index.ts";

type Named = {
  readonly precision: Precision;
  readonly traits: Partial<Pick<Traits, "compute" | "expertCompute">>;
};
const products = (format: "fp8" | "fp4") => ({ compute: format, expertCompute: format });

/**
 * Formats by the names that recipes use. fp8, mxfp8 and fp4 stand for the products: stacks keep bf16 weights beside them, and a
 * Blackwell mxfp8 weight kept by rows and by columns is as large as a bf16 one. `fp8-weights` keeps 8-bit weights only. `bf16-fsdp` is the
 * mixed precision of FSDP2: fp32 weights, cut, that are gathered and run in bf16.
 */
export const PRECISIONS = {
  bf16: { precision: BF16_MIXED, traits: {} },
  "bf16-lean": {
    precision: { ...BF16_MIXED, gradients: "bfloat16", moments: "bfloat16" },
    traits: {},
  },
  "bf16-pure": { precision: { ...BF16_MIXED, gradients: "bfloat16", master: "none" }, traits: {} },
  "bf16-fsdp": { precision: { ...FLOAT32, activations: "bfloat16", dispatch: "bfloat16" }, traits: {} },
  fp8: { precision: BF16_MIXED, traits: products("fp8") },
  mxfp8: { precision: BF16_MIXED, traits: products("fp8") },
  "fp8-weights": { precision: { ...BF16_MIXED, weights: "fp8" }, traits: products("fp8") },
  fp4: { precision: BF16_MIXED, traits: products("fp4") },
  nvfp4: { precision: BF16_MIXED, traits: products("fp4") },
  fp32: { precision: FLOAT32, traits: {} },
} as const satisfies Readonly<Record<string, Named>>;
export type PrecisionName = keyof typeof PRECISIONS;
