import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { unwrap } from "../../base/index.ts";
import { elements, importModel, type Model } from "../../model/index.ts";
import { BF16_MIXED, evenStages, type Layout, SINGLE, type Training, worldOf } from "../layout.ts";
import { memoryOf, type RankClass } from "../memory/index.ts";
import type { EngineKind } from "../memory/types.ts";
import { coordinates, type Held, pieceBytes, pieceMap, type Slice } from "./index.ts";

const config = {
  model_type: "deepseek_v4",
  hidden_size: 16,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 1,
  head_dim: 8,
  q_lora_rank: 10,
  o_lora_rank: 6,
  o_groups: 2,
  index_n_heads: 2,
  index_head_dim: 4,
  index_topk: 8,
  n_routed_experts: 8,
  num_experts_per_tok: 2,
  moe_intermediate_size: 8,
  num_hash_layers: 1,
  hc_mult: 2,
  compress_ratios: [0, 128, 4, 128, 0],
  num_nextn_predict_layers: 1,
  // A multiple of 128 x tp: Megatron pads no further, so pieces and memory speak of the same tensors.
  vocab_size: 512,
};
const MODEL: Model = unwrap(importModel(config));
const TIED: Model = unwrap(
  importModel({
    model_type: "qwen3",
    hidden_size: 16,
    num_hidden_layers: 3,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 8,
    intermediate_size: 24,
    vocab_size: 512,
    tie_word_embeddings: true,
  }),
);

const training = (layout: Layout): Training => ({
  sequence: 64,
  microBatch: 1,
  globalBatch: 2 * layout.pp * layout.dpReplicate * layout.dpShard,
  precision: BF16_MIXED,
  optimizer: "adamw",
  mtp: true,
});

const two = fc.constantFrom(1, 2, 4);
const anyLayout = (engine: EngineKind): fc.Arbitrary<Layout> =>
  fc
    .record({
      pp: fc.constantFrom(1, 2),
      vpp: fc.constantFrom(1, 2),
      tp: fc.constantFrom(1, 2),
      cp: fc.constantFrom(1, 2),
      rep: fc.constantFrom(1, 2),
      shard: fc.constantFrom(1, 2, 3, 4, 6, 8),
      ep: two,
      etp: fc.constantFrom(1, 2),
      zero: fc.constantFrom(0, 1, 2, 3),
    })
    .map(({ pp, vpp, tp, cp, rep, shard, ep, etp, zero }): Layout => {
      const ours = engine === "tessera";
      const chunks = pp === 1 ? 1 : vpp;
      return {
        ...SINGLE,
        pp,
        vpp: chunks,
        tp: ours ? 1 : tp,
        cp: ours ? 1 : cp,
        dpReplicate: rep,
        dpShard: shard,
        ep,
        etp: ours ? 1 : etp,
        zero: ours ? 3 : (zero as 0 | 1 | 2 | 3),
        schedule: chunks > 1 ? "interleaved1f1b" : "1f1b",
        stages: evenStages(4, pp * chunks),
      };
    })
    .filter((l) => {
      // Experts fold within a replica, and a slice over their remaining ranks must come out even.
      const inside = l.tp * l.cp * l.dpShard;
      return inside % (l.ep * l.etp) === 0 && (engine === "megatron" || 8 % (l.dpShard / l.ep) === 0);
    });

/** Times that every element of a tensor is held, by brute force. */
function paint(
  counts: Uint8Array,
  shape: readonly number[],
  slices: readonly Slice[],
  from = 0,
  to = Number.POSITIVE_INFINITY,
) {
  let position = 0;
  for (const { offset, size } of slices) {
    const total = size.reduce((a, b) => a * b, 1);
    for (let i = 0; i < total; i++, position++) {
      if (position < from || position >= to) continue;
      let rest = i;
      let at = 0;
      let stride = 1;
      for (let d = shape.length - 1; d >= 0; d--) {
        at += ((offset[d] as number) + (rest % (size[d] as number))) * stride;
        rest = Math.floor(rest / (size[d] as number));
        stride *= shape[d] as number;
      }
      counts[at] = (counts[at] as number) + 1;
    }
  }
}

const paintHeld = (counts: Uint8Array, shape: readonly number[], held: Held) =>
  held.kind === "flat"
    ? paint(counts, shape, held.of, held.from, held.to)
    : paint(counts, shape, held.slices);

describe.each(["tessera", "megatron"] as const)("pieces of %s", (engine) => {
  test("coordinates are different for every rank and in range", () => {
    fc.assert(
      fc.property(anyLayout(engine), (layout) => {
        const seen = new Set<string>();
        for (let rank = 0; rank < worldOf(layout); rank++) {
          const at = coordinates(layout, engine, rank);
          seen.add([at.ppRank, at.tpRank, at.replica, at.shard].join());
          expect(at.epRank).toBeLessThan(layout.ep);
        }
        expect(seen.size).toBe(worldOf(layout));
      }),
      { numRuns: 60 },
    );
  });

  test("optimizer pieces of one replica cover every tensor exactly once", () => {
    fc.assert(
      fc.property(anyLayout(engine), fc.constantFrom("optimizer", "gradients", "weights"), (layout, what) => {
        // Where a kind of state is not cut over data, it is whole in every data rank: look at one of them only.
        const level = { optimizer: 1, gradients: 2, weights: 3 }[what];
        const cut = engine === "tessera" || layout.zero >= level;
        const map = pieceMap(MODEL, layout, training(layout), { engine });
        const counts = new Map<string, Uint8Array>();
        for (let rank = 0; rank < map.world; rank++) {
          const at = coordinates(layout, engine, rank);
          if (at.replica !== 0) continue;
          for (const piece of map.of(rank)) {
            const { weight, name, ppRanks } = piece.tensor;
            const held = piece[what as "optimizer" | "gradients" | "weights"];
            if (held === null || !weight.trained || at.ppRank !== ppRanks[0]) continue;
            if (!cut && (weight.cut.kind === "expert" ? at.expertShard : at.shard) !== 0) continue;
            // Tensors that tp does not cut are held by every tp rank, whole or by shard.
            const copies =
              weight.cut.kind === "expert" ? (weight.cut.dim === null ? at.etpRank : 0) : at.tpRank;
            if (weight.cut.kind === "replicated" && copies !== 0) continue;
            if (weight.cut.kind === "expert" && copies !== 0) continue;
            const seen = counts.get(name) ?? new Uint8Array(elements(weight));
            paintHeld(seen, weight.shape, held);
            counts.set(name, seen);
          }
        }
        const trained = map.tensors.filter(({ weight }) => weight.trained);
        expect(counts.size).toBe(trained.length);
        for (const [name, seen] of counts) {
          const wrong = seen.findIndex((n) => n !== 1);
          if (wrong >= 0) throw new Error(`${name}[${wrong}] is held ${seen[wrong]} times`);
        }
      }),
      { numRuns: 40 },
    );
  });

  test("the memory table is the sum of the pieces", () => {
    fc.assert(
      fc.property(anyLayout(engine), fc.constantFrom(MODEL, TIED), (layout, model) => {
        const usable =
          model === TIED
            ? { ...layout, ep: 1, etp: 1, stages: evenStages(3, layout.pp * layout.vpp) }
            : layout;
        const t = training(usable);
        const report = memoryOf(model, usable, t, { engine });
        const map = pieceMap(model, usable, t, { engine });
        const most = new Map<number, { weights: number; gradients: number; optimizer: number }>();
        for (let rank = 0; rank < map.world; rank++) {
          const sum = { weights: 0, gradients: 0, optimizer: 0 };
          for (const piece of map.of(rank)) {
            const bytes = pieceBytes(piece, t, engine);
            sum.weights += bytes.weights;
            sum.gradients += bytes.gradients;
            sum.optimizer += bytes.optimizer;
          }
          const at = report.classOf[rank] as number;
          if (engine === "tessera") {
            const { bytes } = (report.classes[at] as RankClass).memory;
            expect(sum).toEqual({
              weights: bytes.weights,
              gradients: bytes.gradients,
              optimizer: bytes.optimizer,
            });
          }
          const known = most.get(at) ?? sum;
          most.set(at, {
            weights: Math.max(known.weights, sum.weights),
            gradients: Math.max(known.gradients, sum.gradients),
            optimizer: Math.max(known.optimizer, sum.optimizer),
          });
        }
        // Megatron's last flat shard may be short; the table speaks of the fullest rank.
        for (const [at, sum] of most) {
          const { bytes } = (report.classes[at] as RankClass).memory;
          expect(sum.weights).toBeCloseTo(bytes.weights, 3);
          expect(sum.gradients).toBeCloseTo(bytes.gradients, 3);
          expect(sum.optimizer).toBeCloseTo(bytes.optimizer, 3);
        }
      }),
      { numRuns: 40 },
    );
  });
});

test("an expert that moved is found on its new rank", () => {
  const layout: Layout = { ...SINGLE, dpShard: 2, ep: 2, zero: 3, stages: [[0, 1, 2, 3]] };
  const placement = { "1": [7, 6, 5, 4, 3, 2, 1, 0] };
  const map = pieceMap(MODEL, layout, training(layout), { engine: "tessera", placement });
  const held = map.of(0).find((p) => p.tensor.name === "model.layers.1.mlp.experts.down_proj")?.weights;
  expect(held?.kind === "slices" && held.slices.map((s) => s.offset[0])).toEqual([7, 6, 5, 4]);
});
