import type { Text } from "../base/index.ts";
import { formatBytes, formatSeconds } from "../base/index.ts";
import { type Cluster, clusterDevices, type NodeGroup } from "../cluster/index.ts";
import { PADDING } from "./fallback.ts";
import { type PlanRequest, runSearch, searchAll } from "./plan.ts";
import { type Layout, paddedSequences, type Training } from "./layout.ts";
import { layoutName } from "./search/index.ts";
import { engineTraits, expertLoad, TimeModel, type Traits } from "./time/index.ts";

/** What one more of something would buy: the best layout under a slightly richer cluster. */
export type WhatIf = {
  readonly change: "node" | "memory" | "network" | "intra" | "compute" | "hbm" | "batch" | "balance";
  readonly label: Text;
  readonly name: string;
  readonly seconds: number;
  /** Step time saved, as a share of the plan's. */
  readonly gain: number;
};

const eachGroup = (cluster: Cluster, change: (group: NodeGroup) => NodeGroup): Cluster => ({
  ...cluster,
  groups: cluster.groups.map(change),
});

type Best = {
  readonly layout: Layout;
  readonly training: Training;
  readonly time: { readonly seconds: number };
};

/** Searches again with one more node, more memory, each kind of speed raised by a tenth, a batch that empty sequences fill, and balanced experts where they are not. */
export const whatIfs = (request: PlanRequest, best: Best): WhatIf[] => [...eachWhatIf(request, best)];

/** The same one by one, for callers that must answer something else between two searches. */
export function* eachWhatIf(request: PlanRequest, best: Best): Generator<WhatIf> {
  const { cluster } = request;
  const last = cluster.groups.length - 1;
  const group = cluster.groups[last] as NodeGroup;
  const extra = Math.max(1024 ** 3, Math.round((group.device.memoryBytes * 0.1) / 1024 ** 3) * 1024 ** 3);
  const faster = (level: (index: number, count: number) => boolean) =>
    eachGroup(cluster, (g) => ({
      ...g,
      links: g.links.map((link, i) =>
        level(i, g.links.length) ? { ...link, bandwidth: link.bandwidth * 1.1 } : link,
      ),
    }));
  const traits = engineTraits(request.constraints.engine, best.training, request.traits);
  const even: Partial<Traits> = { ...request.traits, imbalance: 1, routing: [] };
  const cases: {
    change: WhatIf["change"];
    label: Text;
    cluster: Cluster;
    world?: number;
    traits?: Partial<Traits>;
    training?: Training;
  }[] = [
    {
      change: "node",
      label: {
        en: `one more node (${group.devicesPerNode} devices)`,
        zh: `多一個節點（${group.devicesPerNode} 個加速器）`,
      },
      cluster: {
        ...cluster,
        groups: cluster.groups.map((g, i) => (i === last ? { ...g, nodes: g.nodes + 1 } : g)),
      },
      world: (request.world ?? clusterDevices(cluster)) + group.devicesPerNode,
    },
    {
      change: "memory",
      label: { en: `${formatBytes(extra)} more on each device`, zh: `每個加速器多 ${formatBytes(extra)}` },
      cluster: eachGroup(cluster, (g) => ({
        ...g,
        device: { ...g.device, memoryBytes: g.device.memoryBytes + extra },
      })),
    },
    {
      change: "network",
      label: {
        en: `10 % more bandwidth on ${group.links.at(-1)?.name ?? "the network"}`,
        zh: `${group.links.at(-1)?.name ?? "網路"} 頻寬多 10 %`,
      },
      cluster: faster((i, n) => i === n - 1),
    },
    {
      change: "intra",
      label: {
        en: `10 % more bandwidth on ${
          group.links
            .slice(0, -1)
            .map((l) => l.name)
            .join(", ") || "local links"
        }`,
        zh: `${
          group.links
            .slice(0, -1)
            .map((l) => l.name)
            .join("、") || "本地連線"
        } 頻寬多 10 %`,
      },
      cluster: faster((i, n) => i < n - 1),
    },
    {
      change: "compute",
      label: { en: "10 % faster matrix engines", zh: "矩陣單元快 10 %" },
      cluster: eachGroup(cluster, (g) => ({
        ...g,
        device: { ...g.device, peak: { ...g.device.peak, bf16: g.device.peak.bf16 * 1.1 } },
      })),
    },
    {
      change: "hbm",
      label: { en: "10 % more memory bandwidth", zh: "記憶體頻寬多 10 %" },
      cluster: eachGroup(cluster, (g) => ({
        ...g,
        device: { ...g.device, memoryBandwidth: g.device.memoryBandwidth * 1.1 },
      })),
    },
    // Our own engine has no empty sequences.
    ...(request.constraints.engine === "tessera" || request.training.padBatch !== undefined
      ? []
      : [
          {
            change: "batch" as const,
            label: { en: "empty sequences beside the batch", zh: "在批次外補空序列" },
            cluster,
            training: { ...request.training, padBatch: PADDING },
          },
        ]),
    ...(expertLoad(traits, best.layout.ep).slowest > 1
      ? [
          {
            change: "balance" as const,
            label: { en: "experts evenly loaded", zh: "專家負載均衡" },
            cluster,
            traits: even,
          },
        ]
      : []),
  ];
  for (const { change, label, cluster: richer, world, traits: more, training } of cases) {
    const asked = {
      ...request,
      ...(more ? { traits: more } : {}),
      ...(training ? { training } : {}),
      cluster: richer,
      ...(world === undefined ? {} : { world }),
      simulate: 24,
    };
    // Other batches may divide over other counts of devices.
    const result = training ? searchAll(asked) : runSearch(asked);
    // The same layout under the richer cluster is always at hand; with other devices counts it is the plan without them.
    const then = engineTraits(request.constraints.engine, best.training, asked.traits);
    const same =
      world === undefined
        ? new TimeModel(request.model, richer, best.training, then).step(best.layout).seconds
        : best.time.seconds;
    const found = result.found[0];
    const better = found && found.time.seconds < same ? found : undefined;
    const seconds = better?.time.seconds ?? same;
    const chosen = better ?? best;
    const empty = better && training ? paddedSequences(better.layout, better.training) : 0;
    yield {
      change,
      label: empty === 0 ? label : { en: `${empty} ${label.en}`, zh: `在批次外補 ${empty} 個空序列` },
      name: layoutName(chosen.layout, chosen.training.microBatch),
      seconds,
      gain: 1 - seconds / best.time.seconds,
    };
  }
}

/** Below this share a change of the step time is not worth a line of numbers. */
const NOTHING = 0.0005;

export const whatIfText = (what: WhatIf): Text =>
  what.gain < NOTHING
    ? {
        en: `${what.label.en}: no faster`,
        zh: `${what.label.zh}：不會更快`,
      }
    : {
        en: `${what.label.en}: ${formatSeconds(what.seconds)} (${(100 * what.gain).toFixed(1)} % less), ${what.name}`,
        zh: `${what.label.zh}：${formatSeconds(what.seconds)}（減少 ${(100 * what.gain).toFixed(1)} %），${what.name}`,
      };
