import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { unwrap } from "../../base/index.ts";
import { type Cluster, type Device, findDevice, presetCluster } from "../../cluster/index.ts";
import { importModel } from "../../model/index.ts";
import { BF16_MIXED, evenStages, type Layout, SINGLE, type Training } from "../layout.ts";
import { attentionFlops } from "./attention.ts";
import { MEGATRON_TRAITS, TimeModel, type Traits } from "./index.ts";
import { latentExchanges } from "./latents.ts";
import { visitedBlocks } from "./visits.ts";

const training: Training = {
  sequence: 4096,
  microBatch: 1,
  globalBatch: 64,
  precision: BF16_MIXED,
  optimizer: "adamw",
  mtp: false,
};

test("a run of experts side by side lies in as many parts as it is longer than one", () => {
  const spec = { experts: 256, topK: 8, groups: { count: 8, chosen: 4 } };
  // Dealt out as a balanced gate does: token i takes experts 8 i to 8 i + 7.
  for (const blocks of [1, 8, 32, 64, 128]) {
    let visits = 0;
    for (let token = 0; token < 32; token++) {
      visits += new Set(Array.from({ length: 8 }, (_, i) => Math.floor(((8 * token + i) * blocks) / 256)))
        .size;
    }
    expect([blocks, visitedBlocks(spec, blocks, true)]).toEqual([blocks, visits / 32]);
  }
});

describe("what a model's details cost", () => {
  const base = {
    model_type: "gpt_oss",
    num_hidden_layers: 4,
    hidden_size: 2048,
    intermediate_size: 2048,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 64,
    sliding_window: 128,
    num_local_experts: 32,
    num_experts_per_tok: 4,
    vocab_size: 64000,
    max_position_embeddings: 8192,
  };
  const layout: Layout = { ...SINGLE, ep: 8, dpShard: 8, stages: evenStages(4, 1) };
  const breakdownOf = (more: Record<string, unknown>, traits: Partial<Traits> = {}) =>
    new TimeModel(unwrap(importModel({ ...base, ...more })), presetCluster("h100", 8) as Cluster, training, {
      ...MEGATRON_TRAITS,
      ...traits,
    }).step(layout, true).breakdown;

  test("biases of experts cost traffic unless the products add them", () => {
    // Forward and backward: 28 + 40 bytes an output element, 8 + 10 an input element of the activation, each routed token.
    const rows = 64 * 4096 * 4 * 4;
    const { memoryBandwidth, efficiency } = findDevice("h100") as Device;
    const bytes = (rows / 8) * (68 * 2048 + 18 * 2 * 2048);
    const more = breakdownOf({}).vector - breakdownOf({}, { fusedBias: true }).vector;
    // Clamps in three kernels each way, biases in two an expert forward (and two more) and six backward.
    const launches = 4 * 8 * (3 + 3 + (2 * 4 + 2) + 6 * 4);
    const expected = bytes / (memoryBandwidth * efficiency.memory) + launches * efficiency.launchSeconds;
    expect(more).toBeCloseTo(expected, 9);
  });

  test("heads half as wide, twice as many, cost more for the same products", () => {
    const narrow = breakdownOf({}).attention;
    const wide = breakdownOf({ head_dim: 128, num_attention_heads: 16, num_key_value_heads: 4 }).attention;
    // Published cuDNN kernels: 0.67 of the speed forward, 0.84 backward.
    expect(narrow / wide).toBeGreaterThan(1.15);
    expect(narrow / wide).toBeLessThan(1.5);
  });

  test("an indexer's picks are multiplied as latents", () => {
    const latent = {
      kind: "latent",
      heads: 16,
      queryRank: 512,
      keyValueRank: 256,
      nopeDim: 64,
      ropeDim: 32,
      valueDim: 64,
      gated: false,
    } as const;
    const indexer = { heads: 8, headDim: 64, topK: 128, ratio: 1, owned: true };
    const picked = attentionFlops({ ...latent, indexer }, 4096);
    const keys = attentionFlops({ ...latent, indexer: null }, 4096) / (2 * 16 * (64 + 32 + 64));
    expect(keys).toBeCloseTo(2048.5, 6);
    // 128 keys but for the first tokens, which see fewer.
    const mean = 128 - (128 * 127) / 2 / 4096;
    expect(picked).toBeCloseTo(2 * 16 * mean * (2 * 256 + 32), 3);
  });

  test("a window's masked block is computed too", () => {
    const spec = {
      kind: "grouped",
      heads: 1,
      keyValueHeads: 1,
      headDim: 64,
      valueDim: 64,
      windowKind: "slide",
      gated: false,
      queryKeyNorm: false,
      indexer: null,
    } as const;
    const keys = (window: number | null) => attentionFlops({ ...spec, window }, 4096) / 256;
    expect(keys(128)).toBeGreaterThan(2 * 120);
    expect(keys(128)).toBeLessThan(2 * 128);
    expect(keys(4096)).toBeCloseTo(keys(null), 6);
  });

  test("every further residual stream is moved 16 times a branch, forward and backward", () => {
    const config = JSON.parse(
      readFileSync(new URL("../../../examples/base/model/config.json", import.meta.url), "utf8"),
    );
    const vector = (streams: number) => {
      const v4 = unwrap(importModel({ ...config, hc_mult: streams }));
      const own: Layout = { ...SINGLE, dpShard: 8, stages: evenStages(v4.layers.length, 1) };
      const { breakdown } = new TimeModel(
        v4,
        presetCluster("h100", 8) as Cluster,
        training,
        MEGATRON_TRAITS,
      ).step(own, true);
      return { seconds: breakdown.vector, branches: 2 * v4.layers.length, hidden: v4.hidden };
    };
    const [two, four] = [vector(2), vector(4)];
    const { memoryBandwidth, efficiency } = findDevice("h100") as Device;
    const one = (64 / 8) * 4096 * two.hidden * 2;
    const expected = (2 * 16 * one * two.branches) / (memoryBandwidth * efficiency.memory);
    expect(four.seconds - two.seconds).toBeCloseTo(expected, 9);
  });
});

test("compressed attention gives back by scattering what it gathered, and gathers what it scattered", () => {
  const spec = {
    kind: "compressed",
    heads: 128,
    headDim: 512,
    ropeDim: 64,
    queryRank: 1536,
    outputGroups: 16,
    outputRank: 1024,
    window: 128,
    ratio: 4,
    indexer: { heads: 64, headDim: 128, topK: 1024, ratio: 4, owned: true },
  } as const;
  const widths = (
    of: "forward" | "backward",
    kind: string,
    one = spec as Parameters<typeof latentExchanges>[0],
  ) =>
    latentExchanges(one, 7168)
      [of].filter((each) => each.kind === kind)
      .map(({ width }) => width)
      .sort((a, b) => a - b);
  expect(widths("forward", "allGather")).toEqual([128, 512, 1536, 64 * 129 + 32]);
  expect(widths("backward", "reduceScatter")).toEqual(widths("forward", "allGather"));
  // Beside the mirrored output: all heads' queries for the indexer's objective, and the input of the queries' weights once more.
  expect(widths("backward", "allGather")).toEqual([1536, 7168, 128 * 512]);
  expect(widths("forward", "reduceScatter")).toEqual([7168]);
  const window = { ...spec, ratio: 0, indexer: null };
  expect(widths("forward", "allGather", window)).toEqual([512, 1536]);
  expect(widths("backward", "allGather", window)).toEqual([1536, 7168]);
});

test("the output projection stays in 16 bits where layers multiply in eight", () => {
  const wide = { model_type: "llama", num_hidden_layers: 1, hidden_size: 4096, intermediate_size: 8192 };
  const heads = { num_attention_heads: 32, num_key_value_heads: 8, max_position_embeddings: 8192 };
  const matrix = (vocabulary: number, compute: "bf16" | "fp8") =>
    new TimeModel(
      unwrap(importModel({ ...wide, ...heads, vocab_size: vocabulary })),
      presetCluster("h100", 8) as Cluster,
      training,
      { ...MEGATRON_TRAITS, compute },
    ).step({ ...SINGLE, dpShard: 8, stages: evenStages(1, 1) }, true).breakdown.matrix;
  const head = (compute: "bf16" | "fp8") => matrix(200_000, compute) - matrix(100_000, compute);
  expect(head("fp8")).toBeCloseTo(head("bf16"), 9);
  expect(matrix(100_000, "fp8")).toBeLessThan(matrix(100_000, "bf16"));
});

test("a cast to four bits moves 7 bytes an element where one to eight bits moves 4", () => {
  const hidden = 4096;
  const config = {
    model_type: "llama",
    num_hidden_layers: 1,
    hidden_size: hidden,
    intermediate_size: 3 * hidden,
    num_attention_heads: 32,
    num_key_value_heads: 32,
    vocab_size: 32000,
    max_position_embeddings: 8192,
    tie_word_embeddings: false,
  };
  const layout: Layout = { ...SINGLE, stages: evenStages(1, 1) };
  const vectorOf = (compute: "fp8" | "fp4") =>
    new TimeModel(unwrap(importModel(config)), presetCluster("gb200", 1) as Cluster, training, {
      ...MEGATRON_TRAITS,
      compute,
    }).step(layout, true).breakdown.vector;
  // Inputs of the four products of a layer (attention's two, the block's two), and gradients of their outputs.
  const elements = (1 + 1 + 1 + 3 + (3 + 1 + 6 + 1)) * hidden * 4096 * 64;
  const { memoryBandwidth, efficiency } = findDevice("gb200") as Device;
  const launches = 64 * 4 * 2 * 2 * efficiency.launchSeconds * efficiency.unfused;
  const moved = (3 * elements * efficiency.unfused) / (memoryBandwidth * efficiency.memory);
  expect(vectorOf("fp4") - vectorOf("fp8")).toBeCloseTo(moved + launches, 6);
});
