import { describe, expect, test } from "vitest";
import { unwrap } from "../base/index.ts";
import { estimate, readCase } from "./index.ts";

const secondsOf = (more: Record<string, unknown>) =>
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
  ).time.seconds;

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
