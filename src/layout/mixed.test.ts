import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { unwrap } from "../base/index.ts";
import { type Cluster, type Link, namedCluster, type NodeGroup, presetGroup } from "../cluster/index.ts";
import { importModel, knownConfig } from "../model/index.ts";
import { BF16_MIXED, evenStages, SINGLE, type Training } from "./layout.ts";
import { plan } from "./plan.ts";
import { candidates } from "./search/space.ts";
import { MEGATRON_TRAITS, TimeModel } from "./time/index.ts";

const model = unwrap(
  importModel({
    model_type: "qwen3_moe",
    num_hidden_layers: 16,
    hidden_size: 2048,
    num_attention_heads: 16,
    num_key_value_heads: 4,
    head_dim: 128,
    intermediate_size: 6144,
    moe_intermediate_size: 768,
    num_experts: 32,
    num_experts_per_tok: 4,
    vocab_size: 65536,
    max_position_embeddings: 8192,
    tie_word_embeddings: false,
  }),
);
const training: Training = {
  sequence: 4096,
  microBatch: 1,
  globalBatch: 96,
  precision: BF16_MIXED,
  optimizer: "adamw",
  mtp: false,
};
const group = (id: string, devices: number): NodeGroup => presetGroup(id, devices) as NodeGroup;
const link = (bandwidth: number): Link => ({
  name: "between",
  span: Number.POSITIVE_INFINITY,
  bandwidth,
  efficiency: 0.8,
  latency: 2e-5,
});
const join = (groups: readonly NodeGroup[], bandwidth = 12.5e9): Cluster => ({
  name: groups.map(({ device }) => device.id).join(" + "),
  groups,
  collectiveSeconds: 40e-6,
  ...(groups.length > 1 ? { between: link(bandwidth) } : {}),
});
const best = (cluster: Cluster): number => {
  const found = plan({ model, cluster, training, constraints: { engine: "megatron" } });
  return found.ok ? found.value.time.seconds : Number.POSITIVE_INFINITY;
};
const memory = (of: NodeGroup, gib: number): NodeGroup => ({
  ...of,
  device: { ...of.device, memoryBytes: gib * 1024 ** 3 },
});

describe("mixed clusters", () => {
  test("two groups of one device, joined by their own outer link, are as one group", () => {
    const whole = group("h100", 32);
    const outer = whole.links.at(-1) as Link;
    const one: Cluster = { ...join([whole]), collectiveSeconds: 20e-6 };
    const two: Cluster = { ...one, groups: [group("h100", 16), group("h100", 16)], between: outer };
    const layouts = [...candidates(model, one, training, 32, { engine: "megatron" })];
    const apart = (cluster: Cluster) => new TimeModel(model, cluster, training, MEGATRON_TRAITS);
    const [alone, pair] = [apart(one), apart(two)];
    fc.assert(
      fc.property(fc.constantFrom(...layouts), ({ layout }) => {
        expect(pair.step(layout, true).seconds).toBeCloseTo(alone.step(layout, true).seconds, 9);
      }),
      { numRuns: 60 },
    );
  });

  const parts = [group("h100", 16), group("a100", 16)] as const;

  test("together they beat each part, and never the parts' throughputs added up", () => {
    const alone = parts.map((part) => best(join([part])));
    const both = best(join(parts));
    expect(both).toBeLessThan(Math.min(...alone));
    expect(both).toBeGreaterThanOrEqual(1 / alone.reduce((sum, seconds) => sum + 1 / seconds, 0));
  });

  test("a faster link between, a faster device, more memory, more nodes: never slower", () => {
    const seconds = [1e9, 12.5e9, 100e9].map((bandwidth) => best(join(parts, bandwidth)));
    expect(seconds[1]).toBeLessThanOrEqual(seconds[0] as number);
    expect(seconds[2]).toBeLessThanOrEqual(seconds[1] as number);
    expect(best(join([parts[0], group("h100", 16)]))).toBeLessThanOrEqual(seconds[1] as number);
    const small = [12, 20, 40].map((gib) => best(join([parts[0], memory(parts[1], gib)])));
    expect(small[1]).toBeLessThanOrEqual(small[0] as number);
    expect(small[2]).toBeLessThanOrEqual(small[1] as number);
    expect(best(join([parts[0], group("a100", 32)]))).toBeLessThanOrEqual(seconds[1] as number);
  });

  test("however slow the link between, the leading part alone stays possible, and the plan says why", () => {
    const alone = best(join([parts[0]]));
    const found = plan({ model, cluster: join(parts, 1e7), training, constraints: { engine: "megatron" } });
    if (!found.ok) throw found.error;
    expect(found.value.time.seconds).toBeCloseTo(alone, 9);
    expect(found.value.why.at(-1)?.en).toMatch(
      /^All 32 devices together would take .* the last 16 wait as spares/,
    );
  });

  test("a message between stages goes through what lies between their nodes", () => {
    const layout = { ...SINGLE, pp: 4, dpShard: 4, stages: evenStages(16, 4) };
    const time = new TimeModel(model, join([group("h100", 16)]), training, MEGATRON_TRAITS);
    const { hop } = time.step(layout, true).costs;
    // Two stages of four ranks to a node of eight: every second message leaves the node.
    expect(hop[0]).toBeCloseTo(hop[2] as number, 12);
    expect(hop[1]).toBeGreaterThan(2 * (hop[0] as number));
  });
});

test("a narrower search on mixed devices finds nothing that the whole search missed", () => {
  const known = unwrap(importModel(knownConfig("Qwen3-30B-A3B")));
  const cluster = unwrap(namedCluster("h100:16+h20:16"));
  const ask = (constraints: object) =>
    unwrap(plan({ model: known, cluster, training, constraints: { engine: "megatron", ...constraints } }))
      .time.seconds;
  const whole = ask({});
  for (const tp of [1, 2, 4]) expect(ask({ pp: [2], tp: [tp] })).toBeGreaterThanOrEqual(whole * (1 - 1e-9));
});
