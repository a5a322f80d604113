import type { Cluster, NodeGroup } from "../../cluster/index.ts";
import type { Model } from "../../model/index.ts";
import { type Layout, stageRanks, type Training } from "../layout.ts";
import type { MemoryReport } from "../memory/types.ts";
import type { StageHome, StepTime, Traits } from "../time/index.ts";
import type { Engine } from "./problems.ts";
import type { Constraints } from "./space.ts";

/** Predicts memory of a layout; injected so that the search does not depend on how. */
export type MemoryModel = (
  model: Model,
  layout: Layout,
  training: Training,
  engine: Engine,
  homes: readonly StageHome[],
  traits: Traits,
) => MemoryReport;

export type SearchRequest = {
  readonly model: Model;
  readonly cluster: Cluster;
  readonly training: Training;
  readonly traits: Traits;
  readonly constraints: Constraints;
  readonly world: number;
  readonly memory: MemoryModel;
  /** Share of a device's memory kept free. */
  readonly margin: number;
  /** Most layouts simulated. */
  readonly simulate: number;
  /** Discard by a bound of its states what cannot fit (default); false predicts the memory of that too. */
  readonly filter?: boolean;
  /** Stop simulating when no remaining layout can beat the best one (default); false fills `simulate` for the list. */
  readonly prune?: boolean;
};

export type Found = {
  readonly layout: Layout;
  readonly training: Training;
  readonly time: StepTime;
  readonly memory: MemoryReport;
  /** Bytes left on the fullest device after everything, margin not deducted. */
  readonly free: number;
};

/** Whether every rank fits its own device, and every node its host memory. `short` > 0 says by how much it does not. */
export function fits(
  memory: MemoryReport,
  layout: Layout,
  homes: readonly StageHome[],
  margin: number,
): { short: number; free: number; host: boolean } {
  let short = Number.NEGATIVE_INFINITY;
  let free = Number.POSITIVE_INFINITY;
  let host = false;
  for (const { ppRank, memory: rank } of memory.classes) {
    const home = homes[ppRank] as StageHome;
    const used = rank.reserved + rank.framework;
    free = Math.min(free, home.device.memoryBytes - used);
    short = Math.max(short, used - home.device.memoryBytes * (1 - margin));
    const group: NodeGroup = home.group;
    const onNode = Math.min(group.devicesPerNode, stageRanks(layout));
    const over = (rank.host * onNode - group.hostMemoryBytes * 0.9) / onNode;
    if (over > 0 && over > short) {
      short = over;
      host = true;
    }
  }
  return { short, free, host };
}
