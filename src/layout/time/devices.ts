import {
  type Cluster,
  collectivesAmong,
  type Device,
  groupDevices,
  type Link,
  type NodeGroup,
  type Wires,
} from "../../cluster/index.ts";
import { type Layout, stageRanks } from "../layout.ts";

/** Hardware under one pipeline rank: the slowest device and the wires its collectives use. */
export type StageHome = {
  readonly device: Device;
  readonly group: NodeGroup;
  readonly wires: Wires;
  /** The stage's ranks lie in more than one group. */
  readonly split: boolean;
};

/**
 * Which hardware every pipeline rank runs on. Ranks fill the groups of a cluster in order, stage after stage. A stage that lies
 * across groups runs at the pace of the slowest device and talks over the link between the groups.
 */
export function stageHomes(
  cluster: Cluster,
  layout: Pick<Layout, "pp" | "tp" | "cp" | "dpReplicate" | "dpShard">,
): StageHome[] {
  const ranks = stageRanks(layout as Layout);
  const bounds: { group: NodeGroup; from: number; to: number }[] = [];
  let from = 0;
  for (const group of cluster.groups) {
    const to = from + groupDevices(group);
    bounds.push({ group, from, to });
    from = to;
  }
  return Array.from({ length: layout.pp }, (_, stage) => {
    const [first, last] = [stage * ranks, (stage + 1) * ranks - 1];
    const inside = bounds.filter(({ from: low, to }) => first < to && last >= low).map(({ group }) => group);
    const group = inside.reduce((slow, next) => (paceOf(next.device) < paceOf(slow.device) ? next : slow));
    const links: readonly Link[] =
      inside.length > 1 && cluster.between ? outer(group.links, cluster.between) : group.links;
    return {
      device: group.device,
      group,
      wires: {
        links,
        collectiveSeconds: cluster.collectiveSeconds,
        ...(inside.length === 1 && group.collectives
          ? {
              measured: collectivesAmong(
                group.collectives,
                Math.min(layout.pp * ranks, group.devicesPerNode),
              ),
            }
          : {}),
      },
      split: inside.length > 1,
    };
  });
}

/** Levels inside a group, with the last one replaced by the link that leaves it. */
const outer = (links: readonly Link[], between: Link): readonly Link[] => [
  ...links.filter((link) => Number.isFinite(link.span)),
  { ...between, span: Number.POSITIVE_INFINITY },
];

const paceOf = (device: Device): number => device.peak.bf16 * device.efficiency.gemm;

/** Wires for messages from one stage to the next. */
export function hopWires(cluster: Cluster, from: StageHome, to: StageHome): Wires {
  if (from.group === to.group || !cluster.between) return from.wires;
  return {
    links: [{ ...cluster.between, span: Number.POSITIVE_INFINITY }],
    collectiveSeconds: cluster.collectiveSeconds,
  };
}
