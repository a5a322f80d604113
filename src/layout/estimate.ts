import { fits, layoutName } from "./search/index.ts";
import type { EstimateCase } from "./case.ts";
import { type Layout, type Training, worldOf } from "./layout.ts";
import type { MemoryReport } from "./memory/types.ts";
import type { PlannedTime } from "./plan.ts";
import { predictMemory } from "./predict.ts";
import { stageHomes, TimeModel } from "./time/index.ts";

export type Estimate = {
  readonly name: string;
  readonly layoutName: string;
  readonly layout: Layout;
  readonly training: Training;
  readonly devices: number;
  readonly time: PlannedTime;
  readonly memory: MemoryReport;
  /** The rank that needs most: tensors, what the allocator holds, and all of the device that is taken. Bytes. */
  readonly peak: {
    readonly rank: number;
    readonly allocated: number;
    readonly reserved: number;
    readonly used: number;
  };
  /** Bytes left on the fullest device; negative when the layout does not fit. */
  readonly free: number;
  readonly fits: boolean;
  /** What the device profiles rest on: the weakest of those in use. */
  readonly basis: "measured" | "fitted" | "assumed";
};

const BASES = ["measured", "fitted", "assumed"] as const;

/** Estimates one case as given, whether it fits or not. */
export function estimate(given: EstimateCase): Estimate {
  const { model, cluster, layout, training, traits } = given;
  const { costs: _costs, ...time } = new TimeModel(model, cluster, training, traits).step(layout, true);
  const homes = stageHomes(cluster, layout);
  const memory = predictMemory(
    model,
    layout,
    training,
    given.engine,
    homes,
    traits,
    "p99",
    given.memoryStack,
  );
  const worst = memory.classes[memory.worst] as MemoryReport["classes"][number];
  const { free } = fits(memory, layout, homes, 0);
  return {
    name: given.name,
    layoutName: layoutName(layout, training.microBatch),
    layout,
    training,
    devices: worldOf(layout),
    time,
    memory,
    peak: {
      rank: worst.first,
      allocated: worst.memory.allocated,
      reserved: worst.memory.reserved,
      used: worst.memory.reserved + worst.memory.framework,
    },
    free,
    fits: free >= 0,
    basis: BASES[
      Math.max(...homes.map(({ device }) => BASES.indexOf(device.efficiency.origin)))
    ] as Estimate["basis"],
  };
}

/** Memory without typed arrays, which JSON would write as objects. */
export const plainMemory = (memory: MemoryReport) => ({ ...memory, classOf: [...memory.classOf] });
