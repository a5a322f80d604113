import type { Model } from "../model/index.ts";
import type { Layout, Training } from "./layout.ts";
import { memoryOf } from "./memory/evaluate.ts";
import type { MemoryReport } from "./memory/types.ts";
import type { Engine } from "./search/index.ts";
import type { StageHome, Traits } from "./time/index.ts";

/** Memory of every rank of a layout, with what its device holds before any tensor and the load of its experts. */
export function predictMemory(
  model: Model,
  layout: Layout,
  training: Training,
  engine: Engine,
  homes: readonly StageHome[],
  traits?: Pick<Traits, "imbalance">,
): MemoryReport {
  const framework = Math.max(...homes.map((home) => home.device.contextBytes));
  // With one expert rank there is nobody to be more loaded than.
  const load = layout.ep > 1 ? (traits?.imbalance ?? 1) : 1;
  return memoryOf(model, layout, training, { engine, framework, load });
}
