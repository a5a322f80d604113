/**
 * Mixed and low-spec clusters: the best plan over everything against the best plan on each uniform part alone.
 *   node bench/layout/mixed.ts
 */
import { type Cluster, type NodeGroup, presetGroup } from "../../src/cluster/index.ts";
import { plan, type Plan, type PlanRequest, stageHomes, stageRank } from "../../src/layout/index.ts";
import type { Model } from "../../src/model/index.ts";
import { training, v4 } from "./ascend.ts";
import { machine } from "./shared.ts";
import { modelNamed } from "./published.ts";

const between = {
  name: "Ethernet between clusters",
  span: Number.POSITIVE_INFINITY,
  bandwidth: 12.5e9,
  efficiency: 0.8,
  latency: 2e-5,
};
const join = (name: string, ...groups: (NodeGroup | undefined)[]): Cluster => ({
  name,
  groups: groups.filter((group) => group !== undefined),
  collectiveSeconds: 40e-6,
  between,
});
const low = (group: NodeGroup | undefined): NodeGroup | undefined =>
  group && {
    ...group,
    device: { ...group.device, title: `${group.device.title}, 32 GB`, memoryBytes: 30.6 * 1024 ** 3 },
  };

const cases: { name: string; model: Model; batch: number; cluster: Cluster }[] = [
  {
    name: "V4-Flash on 64 x 910B2 + 128 dies of 910C",
    model: v4("Flash"),
    batch: 768,
    cluster: join("910B2 + 910C", presetGroup("910b2", 64), presetGroup("910c", 128)),
  },
  {
    name: "Qwen3-235B on 128 x H800 + 128 x A100",
    model: modelNamed("Qwen3-235B-A22B"),
    batch: 1024,
    cluster: join("H800 + A100", presetGroup("h800", 128), presetGroup("a100", 128)),
  },
  {
    name: "Qwen3-30B on 32 x A100 + 32 x A100 with 32 GB",
    model: modelNamed("Qwen3-30B-A3B"),
    batch: 512,
    cluster: join("A100 80 + 32 GB", presetGroup("a100", 32), low(presetGroup("a100", 32))),
  },
  {
    name: "Llama-3.1-70B on 32 x H100 + 64 x 910B4 (32 GB)",
    model: modelNamed("LLAMA3_70B"),
    batch: 384,
    cluster: join("H100 + 910B4", presetGroup("h100", 32), presetGroup("910b4", 64)),
  },
];

console.log(machine());
for (const { name, model, batch, cluster } of cases) {
  const request = (over: Cluster): PlanRequest => ({
    model,
    cluster: over,
    training: { ...training(batch), mtp: false },
    constraints: { engine: "megatron" },
    simulate: 200,
  });
  const text = (found: Plan | undefined) =>
    found
      ? `${found.time.seconds.toFixed(2)} s  ${found.name}  (${Math.round(found.time.tokensPerSecond)} tokens/s)`
      : "does not fit";
  const of = (over: Cluster): Plan | undefined => {
    const found = plan(request(over));
    return found.ok ? found.value : undefined;
  };
  console.log(`\n${name}, global batch ${batch}`);
  let best: Plan | undefined;
  for (const group of cluster.groups) {
    const { between: _between, ...rest } = cluster;
    const alone = of({ ...rest, groups: [group] });
    console.log(`  ${group.device.title} alone: ${text(alone)}`);
    if (alone && (!best || alone.time.seconds < best.time.seconds)) best = alone;
  }
  const both = of(cluster);
  console.log(`  together:    ${text(both)}`);
  if (both) {
    const homes = stageHomes(cluster, both.layout);
    const per = Array.from({ length: both.layout.pp }, (_, rank) =>
      both.layout.stages
        .filter((_, s) => stageRank(both.layout, s) === rank)
        .reduce((sum, s) => sum + s.length, 0),
    );
    console.log(
      `  layers by rank: ${per.map((count, rank) => `${count} on ${homes[rank]?.device.id}`).join(", ")}`,
    );
    if (best)
      console.log(`  gain over the best part alone: ${(best.time.seconds / both.time.seconds).toFixed(2)}x`);
  }
}
