import type { Model } from "../model/index.ts";
import type { Layout, Training } from "./layout.ts";
import { memoryOf } from "./memory/evaluate.ts";
import type { MemoryReport } from "./memory/types.ts";
import type { Engine } from "./search/index.ts";
import type { StageHome } from "./time/index.ts";

/** Memory of every rank of a layout, with what its device holds before any tensor. */
export function predictMemory(
  model: Model,
  layout: Layout,
  training: Training,
  engine: Engine,
  homes: readonly StageHome[],
): MemoryReport {
  const framework = Math.max(...homes.map((home) => home.device.contextBytes));
  return memoryOf(model, layout, training, { engine, framework });
}
