import { expect, test } from "vitest";
import { unwrap } from "../../base/index.ts";
import { namedCluster } from "../../cluster/index.ts";
import { importModel, knownConfig } from "../../model/index.ts";
import {
  BF16_MIXED,
  canonical,
  exportPlan,
  importPlan,
  plan,
  type PlanRequest,
  requestFor,
  TARGETS,
} from "../index.ts";

const request = (model: string, devices = "h100:64"): PlanRequest => {
  const read = unwrap(importModel(knownConfig(model)));
  return {
    model: read,
    cluster: unwrap(namedCluster(devices)),
    training: {
      sequence: 4096,
      microBatch: 1,
      globalBatch: 256,
      precision: BF16_MIXED,
      optimizer: "adamw",
      mtp: read.mtp.length > 0,
    },
    constraints: { engine: "megatron" },
  };
};

test.each(TARGETS)("a plan for %s is one that it can run, and is read back", (target) => {
  for (const model of ["Qwen3-30B-A3B", "Llama-3.1-8B"]) {
    const asked = requestFor(request(model, "h100:32"), target, { precision: false });
    const found = unwrap(plan(asked));
    const text = unwrap(exportPlan(found, target));
    const context = { world: 32, layers: asked.model.layers.length };
    const back = unwrap(importPlan(text, target, context));
    expect(back.layout).toEqual(canonical(found).layout);
    // The best plan for all stacks is at least as fast under the same precision.
    const free = unwrap(
      plan({
        ...request(model, "h100:32"),
        training: asked.training,
        constraints: { ...asked.constraints, expressible: () => undefined },
      }),
    );
    expect(found.time.seconds).toBeGreaterThanOrEqual(free.time.seconds * (1 - 1e-9));
  }
});

test.each([
  ["automodel", "ring"],
  ["veomni", "ulysses"],
] as const)("a long sequence for %s is cut as it can: %s", (target, kind) => {
  const asked = request("Llama-3.1-8B", "h100:8");
  const long: PlanRequest = {
    ...asked,
    training: { ...asked.training, sequence: 32768, globalBatch: 16 },
    constraints: { ...asked.constraints, cp: [2] },
  };
  const found = unwrap(plan(requestFor(long, target, { precision: false })));
  expect(found.layout.contextParallel).toBe(kind);
  expect(found.name).toContain(`CP2-${kind}`);
  const back = unwrap(importPlan(unwrap(exportPlan(found, target)), target, { world: 8, layers: 32 }));
  expect(back.layout).toEqual(canonical(found).layout);
});

test("what a stack has no word for is named when nothing is left", () => {
  const asked = requestFor(request("DeepSeek-V3", "h200:512"), "torchtitan", { precision: false });
  const found = plan(asked);
  expect(found.ok ? "" : found.error.code).toBe("EXPORT_NOTHING");
  expect(found.ok ? "" : found.error.message).toContain("multi-token prediction");
  const without = { ...asked, training: { ...asked.training, mtp: false } };
  expect(plan(without).ok).toBe(true);
});

test("a precision that was asked for stays", () => {
  const asked = requestFor(request("Llama-3.1-8B"), "torchtitan", { precision: true });
  const found = plan(asked);
  expect(found.ok ? "" : found.error.message).toMatch(/EXPORT_NOTHING.*float32 master copy/);
});
