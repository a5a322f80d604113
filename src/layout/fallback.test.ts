import { expect, test } from "vitest";
import { unwrap } from "../base/index.ts";
import { type Cluster, clusterDevices, presetCluster } from "../cluster/index.ts";
import { fallbacks } from "./fallback.ts";
import { microBatches, paddedSequences, worldOf } from "./layout.ts";
import { plan, type PlanRequest, runSearch } from "./plan.ts";
import { rounderWorlds } from "./searches.ts";
import { smallMixture, smallTraining } from "./testing/small.ts";

const request = (engine: "megatron" | "tessera", batch: number): PlanRequest => ({
  model: smallMixture(8, 24),
  cluster: presetCluster("h100", 64) as Cluster,
  training: smallTraining(batch),
  constraints: { engine, pp: [1, 2], tp: [1], cp: [1] },
});

test("a batch that the devices left do not divide is filled with empty sequences", () => {
  const asked = request("megatron", 512);
  const full = unwrap(plan(asked));
  const list = fallbacks(asked, full, 4);
  expect(list.map((f) => f.lostNodes)).toEqual([1, 2, 3, 4]);
  // 56 and 48 devices leave 512 between multiples; 32 divide it.
  expect(list[0]?.emptySequences).toBeGreaterThan(0);
  expect(list[1]?.emptySequences).toBeGreaterThan(0);
  for (const f of list) {
    const chosen = { ...full.training, microBatch: f.microBatch, padBatch: 1 };
    expect(paddedSequences(f.layout, chosen)).toBe(f.emptySequences);
    expect(Number.isInteger(microBatches(f.layout, chosen))).toBe(true);
    expect(f.emptySequences).toBeLessThanOrEqual(0.25 * 512);
    expect(worldOf(f.layout)).toBeLessThanOrEqual(clusterDevices(asked.cluster) - 8 * f.lostNodes);
    // Empty sequences cost time: no plan is faster than its share of the devices allows by much.
    expect(f.speed).toBeLessThanOrEqual(1);
  }
});

test("our own engine, which has no empty sequences, keeps layouts that divide the batch", () => {
  const asked = request("tessera", 64);
  const full = unwrap(plan(asked));
  const list = fallbacks(asked, full, 3);
  expect(list.length).toBeGreaterThan(0);
  for (const f of list) {
    expect(f.emptySequences).toBe(0);
    expect(64 % (f.microBatch * f.layout.dpReplicate * f.layout.dpShard)).toBe(0);
  }
});

test("counts of devices that divide better than every larger one", () => {
  expect(rounderWorlds(496, 16)).toEqual([480, 448, 384, 256]);
  expect(rounderWorlds(120, 8)).toEqual([112, 96, 64]);
  expect(rounderWorlds(512, 16)).toEqual([]);
  expect(rounderWorlds(4, 4)).toEqual([]);
});

test("an odd count of devices is never worse than the rounder ones in it, and its spares take over without a move", () => {
  const asked: PlanRequest = {
    model: smallMixture(26, 24),
    cluster: presetCluster("h100", 104) as Cluster,
    training: smallTraining(96),
    constraints: { engine: "megatron" },
  };
  const full = unwrap(plan(asked));
  const alone = (world: number) => runSearch({ ...asked, world }).found[0]?.time.seconds ?? 1 / 0;
  expect(full.time.seconds).toBeLessThanOrEqual(Math.min(alone(104), alone(96)));
  expect(worldOf(full.layout)).toBe(96);
  expect(full.why.at(-1)?.en).toContain("the last 8 wait as spares");
  const [one, two] = fallbacks(asked, full, 2);
  expect(one).toMatchObject({ name: full.name, speed: 1, shrink: { movedBytes: 0, restoredBytes: 0 } });
  expect(worldOf((two as typeof one & object).layout)).toBeLessThanOrEqual(88);
});
