import { describe, expect, test } from "vitest";
import { unwrap } from "../base/index.ts";
import { estimate, type RankClass, readCase } from "./index.ts";

const estimateOf = (more: Record<string, unknown>) =>
  estimate(
    unwrap(
      readCase({
        model: "qwen3-30b-a3b",
        cluster: "h100:32",
        layout: { ep: 32 },
        training: { sequence: 4096, globalBatch: 256 },
        ...more,
      }),
    ),
  );
const secondsOf = (more: Record<string, unknown>) => estimateOf(more).time.seconds;

describe("a stack's own defaults", () => {
  test("a mixture's tokens are sent once to a node; what the case says comes first", () => {
    const plain = { deduplicate: false, hostLayerSeconds: 0 };
    const megatron = secondsOf({});
    expect(secondsOf({ engine: "mindspeed" })).toBe(megatron);
    expect(secondsOf({ engine: "bridge", traits: plain })).toBe(megatron);
    expect(secondsOf({ engine: "bridge", traits: { hostLayerSeconds: 0 } })).toBeLessThan(0.8 * megatron);
    const automodel = { engine: "automodel", layout: { ep: 32, zero: 1 } };
    expect(secondsOf(automodel)).toBe(secondsOf({ engine: "bridge", traits: { hostLayerSeconds: 0 } }));
  });

  test("a bridge mixture of small micro-batches waits for its host, half as long where graphs replay", () => {
    // 28.19 s for 64 micro-batches of 48 layers is what a host takes that launches everything; the device needs far less here.
    const of = (cluster: string, host?: number) =>
      secondsOf({
        engine: "bridge",
        cluster,
        layout: { ep: 8 },
        training: { sequence: 512, microBatches: 64 },
        traits: host === undefined ? {} : { hostLayerSeconds: host },
      });
    const [eager, graphs] = [of("h100:8"), of("b300:8")];
    expect(of("h100:8", 0)).toBeLessThan(0.5 * eager);
    expect(eager / 28.19).toBeGreaterThan(1);
    expect(eager / 28.19).toBeLessThan(1.05);
    expect(graphs / 28.19).toBeGreaterThan(0.5);
    expect(graphs / 28.19).toBeLessThan(0.55);
  });

  test("a dense model's tensor-parallel exchange is overlapped by bridge alone", () => {
    const dense = { model: "llama-3.1-8b", layout: { tp: 8 } };
    const megatron = secondsOf(dense);
    expect(secondsOf({ ...dense, engine: "bridge" })).toBe(
      secondsOf({ ...dense, traits: { overlapTensor: 0.8 } }),
    );
    expect(secondsOf({ ...dense, engine: "bridge" })).toBeLessThan(megatron);
    expect(secondsOf({ ...dense, engine: "automodel", layout: { tp: 8, zero: 1 } })).toBe(megatron);
  });
});

describe("plain PyTorch stacks", () => {
  const bytesOf = (more: Record<string, unknown>) => {
    const { memory } = estimateOf({ model: "llama-3.1-8b", cluster: "h100:8", ...more });
    return (memory.classes[memory.worst] as RankClass).memory.bytes;
  };
  const logits = 8192 * 128_256;
  const training = { sequence: 8192, globalBatch: 8, precision: "bf16-fsdp" };

  test("the loss keeps a log-softmax in fp32 and makes two gradients of that size, over tp three", () => {
    const loss = (engine: string, tp = 1) =>
      bytesOf({ engine, layout: { tp, recompute: "full" }, training }).loss;
    for (const engine of ["torchtitan", "fsdp2", "automodel"]) {
      expect(loss(engine)).toBe(3 * 4 * logits);
      expect(loss(engine, 8)).toBe((4 * 4 * logits) / 8);
    }
    expect(loss("megatron")).toBe(2 * logits);
    expect(loss("veomni")).toBe(2 * logits);
  });

  test("Transformer Engine keeps what its products multiplied, torch what it was given", () => {
    const kept = (engine: string, compute: string) =>
      bytesOf({
        engine,
        layout: { zero: 1 },
        training: { ...training, precision: "bf16" },
        traits: { compute },
      }).activations;
    // A layer: both norms' outputs and the block's product in one byte for two; the core's output once more, in one.
    const saved = 32 * 8192 * (4096 + 4096 + 14336 - 4096);
    expect(kept("megatron", "bf16") - kept("megatron", "fp8")).toBe(saved);
    expect(kept("torchtitan", "bf16")).toBe(kept("torchtitan", "fp8"));
  });

  test("a pipeline keeps weights gathered, and gradients summed in fp32, of all of its layers", () => {
    const unshard = (layout: Record<string, unknown>) =>
      bytesOf({ engine: "torchtitan", layout: { pp: 2, stages: [16, 16], ...layout }, training }).unshard;
    const layer = 4096 * (4096 * 2 + 1024 * 2 + 14336 * 3 + 2);
    const table = 128_256 * 4096;
    const [kept, given] = [unshard({}), unshard({ reshardAfterForward: true })];
    // Beside the layers: the embedding of the first stage, whole, and its gradient; one layer's gradient as it comes.
    expect(kept).toBe((2 + 4) * 16 * layer + 2 * layer + 2 * 2 * table);
    expect(given).toBe(2 * 2 * layer + (2 + 4) * layer + 2 * 2 * table);
    expect(unshard({ reshardAfterForward: false })).toBe(kept);
  });
});
