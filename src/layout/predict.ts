import type { Model } from "../model/index.ts";
import type { Layout, Training } from "./layout.ts";
import { memoryOf } from "./memory/evaluate.ts";
import type { MegatronStack } from "./memory/stack.ts";
import type { MemoryReport } from "./memory/types.ts";
import type { Engine } from "./search/index.ts";
import { expertLoad, type StageHome, type Traits } from "./time/index.ts";

/**
 * Memory of every rank of a layout, with what its device holds before any tensor and the load of its experts: that of the rank at
 * the 99th percentile, or at the median. `stack`: whose allocations, where it is not Megatron's newest.
 */
export function predictMemory(
  model: Model,
  layout: Layout,
  training: Training,
  engine: Engine,
  homes: readonly StageHome[],
  traits?: Pick<Traits, "imbalance" | "routing"> & Partial<Pick<Traits, "compute" | "expertCompute">>,
  at: "p50" | "p99" = "p99",
  stack?: MegatronStack,
): MemoryReport {
  const framework = Math.max(...homes.map((home) => home.device.contextBytes));
  const load = expertLoad(traits ?? { imbalance: 1 }, layout.ep)[at];
  const { compute, expertCompute = compute } = traits ?? {};
  const formats = compute && expertCompute ? { formats: { compute, expertCompute } } : {};
  return memoryOf(model, layout, training, {
    engine,
    framework,
    load,
    ...formats,
    ...(stack ? { stack } : {}),
  });
}
