import type { TesseraError } from "../base/index.ts";
import { layoutFail } from "./errors.ts";
import type { Precision } from "./layout.ts";
import type { StageHome, Traits } from "./time/index.ts";

/**
 * The error where a device is to multiply in a format that it has no units for; a stack would refuse to start on it. Weights that are
 * only kept in such a format are no fault: they are widened for bf16 products.
 */
export function formatFault(
  homes: readonly StageHome[],
  traits: Traits,
  { weights, experts = weights }: Precision,
): TesseraError | undefined {
  for (const [format, kept] of [
    [traits.compute, weights],
    [traits.expertCompute, experts],
  ] as const) {
    if ((format !== "fp8" && format !== "fp4") || kept.endsWith(format)) continue;
    // A measured device answers for what was measured.
    const lacking = homes.find(({ device }) => device.peak[format] === undefined && !device.measured);
    if (lacking) return layoutFail("PLAN_FORMAT", { device: lacking.device.title, format });
  }
  return undefined;
}
