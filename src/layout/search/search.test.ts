import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { unwrap } from "../../base/index.ts";
import { type Cluster, presetCluster } from "../../cluster/index.ts";
import { importModel, knownConfig } from "../../model/index.ts";
import { evenStages, type Layout, SINGLE, worldOf } from "../layout.ts";
import { plan, runSearch } from "../plan.ts";
import { predictMemory } from "../predict.ts";
import { smallMixture, smallTraining } from "../testing/small.ts";
import { engineTraits, MEGATRON_TRAITS, STEP_TERMS, stageHomes, TimeModel } from "../time/index.ts";
import {
  candidates,
  difference,
  fits,
  layoutProblem,
  modelFacts,
  QuickBounds,
  splits,
  splitStages,
} from "./index.ts";

const cluster = (devices: number, memoryGiB?: number): Cluster => {
  const base = presetCluster("h100", devices) as Cluster;
  if (memoryGiB === undefined) return base;
  const group = base.groups[0] as Cluster["groups"][0];
  return { ...base, groups: [{ ...group, device: { ...group.device, memoryBytes: memoryGiB * 1024 ** 3 } }] };
};

test("a layout runs again only what the model has", () => {
  const regions = (config: Record<string, unknown>) => {
    const model = unwrap(importModel(config));
    const all = new Set<string>();
    for (const { layout } of candidates(model, cluster(16), smallTraining(), 16, { engine: "megatron" })) {
      if (layout.recompute.kind === "selective")
        for (const region of layout.recompute.regions) all.add(region);
    }
    const again = { kind: "selective", regions: ["upProjection"] } as const;
    const layout: Layout = { ...SINGLE, stages: evenStages(model.layers.length, 1), recompute: again };
    const legal = layoutProblem(modelFacts(model), layout, smallTraining(), "megatron") === undefined;
    return { searched: [...all].sort(), legal };
  };
  const dense = {
    model_type: "llama",
    hidden_size: 1024,
    num_hidden_layers: 4,
    num_attention_heads: 16,
    num_key_value_heads: 4,
    intermediate_size: 4096,
    vocab_size: 32000,
    tie_word_embeddings: false,
  };
  expect(regions(dense)).toEqual({ searched: ["mlp"], legal: false });
  const mixture = {
    ...dense,
    model_type: "qwen3_moe",
    num_experts: 8,
    num_experts_per_tok: 2,
    moe_intermediate_size: 512,
    decoder_sparse_step: 1,
    mlp_only_layers: [],
  };
  expect(regions(mixture)).toEqual({ searched: ["moeActivation", "norm"], legal: false });
  const latent = regions(knownConfig("DeepSeek-V3") as Record<string, unknown>);
  expect(latent).toEqual({ searched: ["mlp", "moeActivation", "norm", "upProjection"], legal: true });
});

test("context parallelism takes the kinds that the heads allow", () => {
  const kinds = (tp: number, cp: number) => {
    const all = new Set<string>();
    const model = smallMixture(4, 8);
    const asked = { engine: "megatron", pp: [1], tp: [tp], cp: [cp] } as const;
    for (const { layout } of candidates(model, cluster(16), smallTraining(), 16, asked))
      all.add(layout.contextParallel);
    return [...all].sort();
  };
  // Four key/value heads.
  expect(kinds(1, 4)).toEqual(["allGather", "ring", "ulysses"]);
  expect(kinds(2, 4)).toEqual(["allGather", "ring"]);
  expect(kinds(1, 1)).toEqual(["allGather"]);
});

describe("stage splits", () => {
  const anySplit = fc.record({
    costs: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 9 }),
    stages: fc.integer({ min: 1, max: 4 }),
    first: fc.integer({ min: 0, max: 9 }),
    last: fc.integer({ min: 0, max: 9 }),
    speeds: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 4, maxLength: 4 }),
  });

  test("the slowest stage is as fast as the best of all cuts", () => {
    fc.assert(
      fc.property(anySplit, ({ costs, stages, first, last, speeds }) => {
        const cost = (layer: number, stage: number) => (costs[layer] as number) * (speeds[stage] as number);
        const extra = (stage: number) => (stage === 0 ? first : 0) + (stage === stages - 1 ? last : 0);
        const worst = (cut: readonly (readonly number[])[]) =>
          Math.max(...cut.map((layers, s) => layers.reduce((sum, l) => sum + cost(l, s), extra(s))));
        const found = splitStages({ layers: costs.length, stages, cost, extra }) as number[][];
        expect(found.flat()).toEqual(costs.map((_, i) => i));
        expect(found.length).toBe(stages);
        let best = Number.POSITIVE_INFINITY;
        const tryAll = (from: number, done: number[][]) => {
          if (done.length === stages) {
            if (from === costs.length) best = Math.min(best, worst(done));
            return;
          }
          for (let to = from; to <= costs.length; to++) {
            tryAll(to, [...done, Array.from({ length: to - from }, (_, i) => from + i)]);
          }
        };
        tryAll(0, []);
        expect(worst(found)).toBeCloseTo(best, 6);
      }),
    );
  });

  test("a limit on layers a stage is kept, and an impossible one is said", () => {
    const even = { layers: 8, stages: 4, cost: () => 1, extra: () => 0 };
    expect(splitStages({ ...even, most: (s) => (s === 0 ? 1 : 3) })?.[0]?.length).toBeLessThanOrEqual(1);
    expect(splitStages({ ...even, most: () => 1 })).toBeUndefined();
  });
});

describe("legality", () => {
  const facts = modelFacts(smallMixture());
  const base: Layout = { ...SINGLE, stages: evenStages(8, 1) };
  test.each<[string, Partial<Layout>, string]>([
    ["experts that do not divide", { ep: 3, dpShard: 2 }, "experts"],
    ["fewer slots than experts", { ep: 2, dpShard: 2, slotsPerRank: 3 }, "experts"],
    ["one expert twice on a rank", { ep: 2, dpShard: 2, slotsPerRank: 9 }, "experts"],
    ["heads that do not divide", { tp: 3 }, "heads"],
    ["ep beyond a stage", { ep: 8, dpShard: 4 }, "stageRanks"],
    ["a batch that does not divide", { dpShard: 3 }, "batch"],
    ["stages that miss a layer", { stages: [[0, 1, 2]] }, "stages"],
    [
      "layers out of order",
      {
        pp: 2,
        stages: [
          [1, 0, 2, 3],
          [4, 5, 6, 7],
        ],
      },
      "stages",
    ],
    ["too few stages", { pp: 2 }, "stages"],
    ["a fraction", { dpShard: 0.5 }, "world"],
    ["ulysses beyond the heads", { cp: 32, contextParallel: "ulysses" }, "contextParallel"],
    [
      "interleaving without chunks",
      { pp: 2, stages: evenStages(8, 2), schedule: "interleaved1f1b" },
      "schedule",
    ],
  ])("%s is refused", (_name, change, constraint) => {
    expect(layoutProblem(facts, { ...base, ...change }, smallTraining(), "megatron")?.constraint).toBe(
      constraint,
    );
  });
  test("our engine refuses what it does not run", () => {
    for (const change of [{ tp: 2 }, { zero: 1 as const }, { offload: { optimizer: 1, activations: [] } }]) {
      const layout = { ...base, zero: 3 as const, ...change };
      expect(layoutProblem(facts, layout, smallTraining(), "tessera")?.constraint).toBe("engine");
    }
    expect(layoutProblem(facts, { ...base, zero: 3 }, smallTraining(), "tessera")).toBeUndefined();
  });

  test("spare slots are part of the layout, at most one slot an expert; a given number stays as it is", () => {
    const slots = (change: object) =>
      [
        ...candidates(smallMixture(), cluster(8), smallTraining(), 8, {
          engine: "tessera",
          pp: [1],
          ep: [1, 4],
          ...change,
        }),
      ].map(({ layout }) => `${layout.ep}:${layout.slotsPerRank}`);
    expect(new Set(slots({ spareSlots: 2 }))).toEqual(new Set(["1:8", "4:4"]));
    expect(new Set(slots({ slotsPerRank: 3 }))).toEqual(new Set(["4:3"]));
    expect(new Set(slots({}))).toEqual(new Set(["1:undefined", "4:undefined"]));
  });

  test("every candidate is legal, fills the world, and none stands twice", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(4, 6, 8, 16, 24),
        fc.constantFrom(8, 12, 24, 48),
        fc.constantFrom<"tessera" | "megatron">("tessera", "megatron"),
        (world, batch, engine) => {
          const model = smallMixture();
          const seen = new Set<string>();
          for (const { layout, microBatch } of candidates(
            model,
            cluster(8 * 4),
            smallTraining(batch),
            world,
            {
              engine,
            },
          )) {
            expect(
              layoutProblem(facts, layout, { ...smallTraining(batch), microBatch }, engine),
            ).toBeUndefined();
            expect(worldOf(layout)).toBe(world);
            const key = JSON.stringify([layout, microBatch]);
            expect(seen.has(key)).toBe(false);
            seen.add(key);
          }
        },
      ),
      { numRuns: 20 },
    );
  });
});

describe("search", () => {
  const request = (devices: number, memoryGiB: number, engine: "tessera" | "megatron") => ({
    model: smallMixture(),
    cluster: cluster(devices, memoryGiB),
    training: smallTraining(),
    constraints: { engine } as const,
    margin: 0.04,
  });

  test("finds the best of all layouts, simulated one by one", () => {
    for (const [devices, memory, engine] of [
      [8, 80, "megatron"],
      [8, 6, "megatron"],
      [16, 5, "tessera"],
      [4, 20, "tessera"],
    ] as const) {
      const r = request(devices, memory, engine);
      let best = Number.POSITIVE_INFINITY;
      for (const { layout, microBatch } of candidates(
        r.model,
        r.cluster,
        r.training,
        devices,
        r.constraints,
      )) {
        const chosen = { ...r.training, microBatch };
        const time = new TimeModel(r.model, r.cluster, chosen, engineTraits(engine, chosen));
        const homes = stageHomes(r.cluster, layout);
        for (const stages of splits(time, layout, homes)) {
          const whole = { ...layout, stages };
          const memoryOf = predictMemory(r.model, whole, chosen, engine, homes);
          if (fits(memoryOf, whole, homes, r.margin).short > 0) continue;
          best = Math.min(best, time.step(whole).seconds);
          break;
        }
      }
      const found = runSearch({ ...r, simulate: 10_000 });
      if (best === Number.POSITIVE_INFINITY) expect(found.found.length).toBe(0);
      else expect(found.found[0]?.time.seconds).toBeCloseTo(best, 9);
    }
  });

  test("the quick bounds never exceed what they bound", () => {
    const r = request(16, 80, "megatron");
    const chosen = { ...r.training, microBatch: 1 };
    const time = new TimeModel(r.model, r.cluster, chosen, MEGATRON_TRAITS);
    const quick = new QuickBounds(time.stages);
    for (const { layout, microBatch } of candidates(r.model, r.cluster, r.training, 16, r.constraints)) {
      if (microBatch !== 1) continue;
      const homes = stageHomes(r.cluster, layout);
      expect(quick.seconds(layout)).toBeLessThanOrEqual(time.step(layout).seconds * (1 + 1e-9));
      const memory = predictMemory(r.model, layout, chosen, "megatron", homes);
      const worst = memory.classes[memory.worst];
      expect(quick.bytes(layout)).toBeLessThanOrEqual((worst?.memory.allocated ?? 0) * (1 + 1e-9));
    }
  });

  test("a step's terms add up, and so do differences between layouts", () => {
    const found = runSearch({ ...request(8, 80, "megatron") }, false).found;
    expect(found.length).toBeGreaterThan(5);
    for (const { time } of found) {
      const sum = STEP_TERMS.reduce((all, term) => all + time.breakdown[term], 0);
      expect(sum).toBeCloseTo(time.seconds, 9);
      for (const term of STEP_TERMS) expect(time.breakdown[term]).toBeGreaterThanOrEqual(-1e-9);
    }
    const [a, b] = [found[0], found.at(-1)] as [(typeof found)[0], (typeof found)[0]];
    const by = difference(b.time.breakdown, a.time.breakdown);
    expect(STEP_TERMS.reduce((all, term) => all + by[term], 0)).toBeCloseTo(
      b.time.seconds - a.time.seconds,
      9,
    );
  });

  test("more memory and faster links never make the best plan slower", () => {
    const seconds = (memory: number, faster: number) => {
      const base = cluster(16, memory);
      const group = base.groups[0] as Cluster["groups"][0];
      const links = group.links.map((link) => ({ ...link, bandwidth: link.bandwidth * faster }));
      const found = plan({
        ...request(16, memory, "megatron"),
        cluster: { ...base, groups: [{ ...group, links }] },
      });
      return found.ok ? found.value.time.seconds : Number.POSITIVE_INFINITY;
    };
    expect(seconds(12, 1)).toBeLessThanOrEqual(seconds(6, 1));
    expect(seconds(80, 1)).toBeLessThanOrEqual(seconds(12, 1));
    expect(seconds(80, 2)).toBeLessThanOrEqual(seconds(80, 1));
  });

  test("what cannot fit says by how much and what would help", () => {
    const result = plan(request(4, 1, "tessera"));
    expect(!result.ok && result.error.code).toBe("PLAN_NO_ROOM_HERE");
    if (!result.ok) expect(String(result.error.params["short"])).toMatch(/[GM]iB/);
  });

  test("a device count without a legal layout leaves spares and says so", () => {
    const base = request(8, 80, "megatron");
    const result = plan({
      model: base.model,
      cluster: cluster(8 * 17),
      training: smallTraining(128),
      constraints: { engine: "megatron", pp: [1], tp: [1], cp: [1] },
    });
    if (!result.ok) throw result.error;
    expect(worldOf(result.value.layout)).toBeLessThan(136);
    expect(result.value.why.at(-1)?.en).toContain("wait as spares");
  });

  test("no legal layout is told apart from no room", () => {
    const result = plan({
      ...request(8, 80, "megatron"),
      training: smallTraining(7),
      constraints: { engine: "megatron", pp: [3] },
    });
    expect(!result.ok && result.error.code).toBe("PLAN_NO_LAYOUT");
  });

  test("a plan explains itself in both languages", () => {
    const result = plan(request(8, 80, "megatron"));
    if (!result.ok) throw result.error;
    for (const line of result.value.why) {
      expect(line.en.length).toBeGreaterThan(10);
      expect(line.zh.length).toBeGreaterThan(5);
    }
    expect(JSON.parse(JSON.stringify(result.value)).schema).toBe("tessera.plan/v1");
  });
});
