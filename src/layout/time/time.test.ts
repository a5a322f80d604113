import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Random, unwrap } from "../../base/index.ts";
import { type Cluster, type Device, findDevice, type NodeGroup, presetCluster } from "../../cluster/index.ts";
import { importModel, type Model } from "../../model/index.ts";
import { BF16_MIXED, evenStages, type Layout, SINGLE, type Training } from "../layout.ts";
import { groupedSeconds, groupedWeightSeconds } from "./kernels.ts";
import { clockShare } from "./power.ts";
import { visitedBlocks } from "./visits.ts";
import { MEGATRON_TRAITS, TimeModel, type Traits } from "./index.ts";

const LAYERS = 16;
const model: Model = unwrap(
  importModel({
    model_type: "qwen3_moe",
    hidden_size: 2048,
    num_hidden_layers: LAYERS,
    num_attention_heads: 16,
    num_key_value_heads: 8,
    head_dim: 128,
    intermediate_size: 4096,
    moe_intermediate_size: 768,
    num_experts: 64,
    num_experts_per_tok: 4,
    vocab_size: 64000,
    max_position_embeddings: 8192,
    tie_word_embeddings: false,
    decoder_sparse_step: 1,
    norm_topk_prob: true,
    mlp_only_layers: [],
  }),
);
const training = (globalBatch: number): Training => ({
  sequence: 4096,
  microBatch: 1,
  globalBatch,
  precision: BF16_MIXED,
  optimizer: "adamw",
  mtp: false,
});
const DEVICES = 32;
/** Layouts of 32 devices: pipelines within and across nodes, tp inside a node, experts over any power of two that divides. */
const anyLayout = fc
  .record({
    pp: fc.constantFrom(1, 2, 4, 8),
    tp: fc.constantFrom(1, 2, 4),
    ep: fc.constantFrom(1, 2, 4, 8, 16, 32),
    full: fc.boolean(),
  })
  .filter(({ pp, tp, ep }) => (DEVICES / pp) % tp === 0 && (DEVICES / pp) % ep === 0)
  .map(
    ({ pp, tp, ep, full }): Layout => ({
      ...SINGLE,
      pp,
      tp,
      ep,
      dpShard: DEVICES / pp / tp,
      sequenceParallel: tp > 1,
      stages: evenStages(LAYERS, pp),
      recompute: full ? { kind: "full" } : { kind: "none" },
    }),
  );
const anyDevice = fc.constantFrom("h100", "b200", "gb200", "910c", "a100", "mi355x");
const clusterOf = (id: string): Cluster => presetCluster(id, DEVICES) as Cluster;
const change = (cluster: Cluster, device: (d: Device) => Device, wires = 1): Cluster => ({
  ...cluster,
  groups: cluster.groups.map((group) => ({
    ...group,
    device: device(group.device),
    links: group.links.map((link) => ({ ...link, bandwidth: link.bandwidth * wires })),
  })),
});
const stepOf = (cluster: Cluster, layout: Layout, micros = 8, traits: Traits = MEGATRON_TRAITS) =>
  new TimeModel(model, cluster, training(micros * layout.dpShard), traits).step(layout, true);

describe("a step", () => {
  test("its terms are never negative and add up to it", () => {
    fc.assert(
      fc.property(anyDevice, anyLayout, fc.boolean(), (id, layout, busyHost) => {
        const traits = { ...MEGATRON_TRAITS, hostLayerSeconds: busyHost ? 0.02 : 0 };
        const { breakdown, seconds } = stepOf(clusterOf(id), layout, 8, traits);
        for (const [term, value] of Object.entries(breakdown)) {
          expect([term, value >= -1e-9 * seconds]).toEqual([term, true]);
        }
        expect(Object.values(breakdown).reduce((a, b) => a + b, 0)).toBeCloseTo(seconds, 9);
      }),
    );
  });

  test("faster links, memory or matrix engines never make it slower", () => {
    fc.assert(
      fc.property(anyDevice, anyLayout, fc.constantFrom("wires", "memory", "peak"), (id, layout, what) => {
        const base = clusterOf(id);
        const better = change(
          base,
          (d) => ({
            ...d,
            memoryBandwidth: d.memoryBandwidth * (what === "memory" ? 2 : 1),
            peak: what === "peak" ? { ...d.peak, bf16: d.peak.bf16 * 2 } : d.peak,
          }),
          what === "wires" ? 2 : 1,
        );
        const before = stepOf(base, layout).seconds;
        expect(stepOf(better, layout).seconds).toBeLessThanOrEqual(before * (1 + 1e-9));
      }),
    );
  });

  test("more micro-batches take longer, but less each: bubble, exchange and optimizer are paid once", () => {
    fc.assert(
      fc.property(anyDevice, anyLayout, fc.integer({ min: 8, max: 24 }), (id, layout, micros) => {
        const few = stepOf(clusterOf(id), layout, micros).seconds;
        const more = stepOf(clusterOf(id), layout, 2 * micros).seconds;
        expect(more).toBeGreaterThan(few);
        expect(more / 2).toBeLessThanOrEqual(few * (1 + 1e-9));
      }),
    );
  });

  test("what an engine overlaps never makes it slower, and a slow host does", () => {
    fc.assert(
      fc.property(anyLayout, (layout) => {
        const cluster = clusterOf("h100");
        const plain: Traits = { ...MEGATRON_TRAITS, overlapData: false, overlapPipeline: false };
        const serial = stepOf(cluster, layout, 8, plain).seconds;
        for (const more of [
          { overlapTensor: 0.8 },
          { overlapExpert: 0.8 },
          { overlapData: true },
          { overlapPipeline: true },
          { deduplicate: true },
        ]) {
          expect(stepOf(cluster, layout, 8, { ...plain, ...more }).seconds).toBeLessThanOrEqual(
            serial * (1 + 1e-9),
          );
        }
        const host = stepOf(cluster, layout, 8, { ...plain, hostLayerSeconds: 0.5 });
        expect(host.seconds).toBeGreaterThanOrEqual((0.5 * 8 * LAYERS) / layout.pp);
        expect(host.breakdown.host).toBeGreaterThan(0.5 * host.seconds * 0.5);
      }),
      { numRuns: 40 },
    );
  });

  test("a mixed cluster is between its slow and its fast device", () => {
    const group = (id: string): NodeGroup => clusterOf(id).groups[0] as NodeGroup;
    fc.assert(
      fc.property(anyLayout, (layout) => {
        const [fast, slow] = [group("h100"), { ...group("a100"), links: group("h100").links }];
        const whole = (one: NodeGroup): Cluster => ({ ...clusterOf("h100"), groups: [one] });
        const last = fast.links.at(-1);
        const mixed: Cluster = {
          ...clusterOf("h100"),
          groups: [
            { ...fast, nodes: fast.nodes / 2 },
            { ...slow, nodes: slow.nodes / 2 },
          ],
          ...(last ? { between: last } : {}),
        };
        const seconds = stepOf(mixed, layout).seconds;
        expect(seconds).toBeGreaterThanOrEqual(stepOf(whole(fast), layout).seconds * (1 - 1e-9));
        expect(seconds).toBeLessThanOrEqual(stepOf(whole(slow), layout).seconds * (1 + 1e-9));
      }),
      { numRuns: 40 },
    );
  });

  test("tensor parallelism that leaves the node costs more exchange than inside it", () => {
    const of = (tp: number) => {
      const layout: Layout = {
        ...SINGLE,
        tp,
        dpShard: DEVICES / tp,
        sequenceParallel: true,
        stages: evenStages(LAYERS, 1),
      };
      return stepOf(clusterOf("h100"), layout, 8).breakdown.tensor;
    };
    expect(of(16)).toBeGreaterThan(of(8));
    expect(of(32)).toBeGreaterThan(of(16));
  });
});

describe("clock under a power limit", () => {
  const share = fc.double({ min: 0.01, max: 1, noNaN: true });

  test("falls as matrix work fills the step, from 1 to what the limit leaves", () => {
    fc.assert(
      fc.property(share, share, (a, b) => {
        const [less, more] = [Math.min(a, b), Math.max(a, b)];
        const limit = { matrix: 1.65, other: 0.5 };
        expect(clockShare(limit, more, 1)).toBeLessThanOrEqual(clockShare(limit, less, 1) + 1e-4);
        expect(clockShare(limit, more, 1)).toBeGreaterThanOrEqual(Math.sqrt(1 / 1.65) - 1e-9);
      }),
    );
    expect(clockShare({ matrix: 1.65, other: 0.5 }, 0.1, 1)).toBe(1);
    expect(clockShare({ matrix: 0.9, other: 0.5 }, 1, 1)).toBe(1);
    expect(clockShare({ matrix: 1.65, other: 0.5 }, 1, 1)).toBeCloseTo(Math.sqrt(1 / 1.65), 9);
  });

  test("a device with a limit is never faster than without", () => {
    const free = change(clusterOf("b200"), (d) => {
      const { power: _, ...efficiency } = d.efficiency;
      return { ...d, efficiency };
    });
    fc.assert(
      fc.property(anyLayout, (layout) => {
        expect(stepOf(clusterOf("b200"), layout).seconds).toBeGreaterThanOrEqual(
          stepOf(free, layout).seconds,
        );
      }),
      { numRuns: 30 },
    );
  });
});

describe("parts of the experts that a token visits", () => {
  test("are what drawing experts shows", () => {
    const random = new Random(3);
    for (const [experts, topK, groups, blocks] of [
      [64, 6, null, 8],
      [64, 6, { count: 8, chosen: 4 }, 8],
      [64, 6, { count: 8, chosen: 4 }, 32],
      [64, 6, { count: 8, chosen: 3 }, 4],
      [64, 6, { count: 8, chosen: 3 }, 2],
    ] as const) {
      const shuffled = <T>(items: readonly T[]): T[] =>
        items
          .map((item) => ({ item, key: random.uint32() }))
          .sort((a, b) => a.key - b.key)
          .map(({ item }) => item);
      const all = Array.from({ length: experts }, (_, i) => i);
      let visits = 0;
      const draws = 4000;
      for (let draw = 0; draw < draws; draw++) {
        const chosen = new Set(shuffled(all.slice(0, groups?.count ?? 1)).slice(0, groups?.chosen ?? 1));
        const open = groups ? all.filter((e) => chosen.has(Math.floor((e * groups.count) / experts))) : all;
        const picked = shuffled(open).slice(0, topK);
        visits += new Set(picked.map((e) => Math.floor((e * blocks) / experts))).size;
      }
      const expected = visitedBlocks({ experts, topK, groups }, blocks);
      expect([groups, blocks, Math.abs(expected / (visits / draws) - 1) < 0.03]).toEqual([
        groups,
        blocks,
        true,
      ]);
    }
  });
});

test("the same tokens over more experts never take less time", () => {
  // Without partial rounds of tiles, which a few more products may fill.
  const b200 = findDevice("b200") as Device;
  const device: Device = { ...b200, efficiency: { ...b200.efficiency, matrixCores: 0 } };
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 0, max: 7 }), (a, b) => {
      const [few, many] = [2 ** Math.min(a, b), 2 ** Math.max(a, b)];
      const tokens = 2 ** 15;
      const forward = (groups: number) => groupedSeconds(device, "bf16", groups, tokens / groups, 4096, 2048);
      const weight = (groups: number) =>
        groupedWeightSeconds(device, "bf16", groups, tokens / groups, 4096, 2048, 8);
      expect(forward(many)).toBeGreaterThanOrEqual(forward(few) * (1 - 1e-9));
      expect(weight(many)).toBeGreaterThanOrEqual(weight(few) * (1 - 1e-9));
    }),
  );
});
