import { expect, test } from "vitest";
import { TesseraError, unwrap } from "../../base/index.ts";
import { namedCluster } from "../../cluster/index.ts";
import { BF16_MIXED, FLOAT32, type PlanRequest, plan } from "../../layout/index.ts";
import { countParameters, importModel, knownConfig } from "../../model/index.ts";
import { piecesText, rankPieces } from "./pieces.ts";

const request = (engine: "megatron" | "tessera"): PlanRequest => ({
  model: unwrap(importModel({ ...knownConfig("Qwen3-30B-A3B"), num_hidden_layers: 4 })),
  cluster: unwrap(namedCluster("h100:16")),
  training: {
    sequence: 1024,
    microBatch: 1,
    globalBatch: 64,
    precision: engine === "tessera" ? FLOAT32 : BF16_MIXED,
    optimizer: "adamw",
    mtp: false,
  },
  constraints: { engine, pp: [2], ep: [4] },
});

test.each(["megatron", "tessera"] as const)("the ranks of a %s plan hold every element once", (engine) => {
  const asked = request(engine);
  const found = unwrap(plan(asked));
  const ranks = Array.from({ length: 16 }, (_, rank) => rankPieces(asked, found, String(rank)));
  const sum = ranks.reduce(
    (all, { tensors }) => all + tensors.reduce((a, { optimizer }) => a + (optimizer?.elements ?? 0), 0),
    0,
  );
  expect(sum).toBe(countParameters(asked.model).main);
  for (const { tensors } of ranks) {
    for (const { weights, shape } of tensors) {
      for (const { offset, size } of weights?.boxes ?? []) {
        shape.forEach((n, i) => expect((offset[i] as number) + (size[i] as number)).toBeLessThanOrEqual(n));
      }
    }
  }
  // Experts that stand side by side are one box.
  const experts = ranks[0]?.tensors.find(({ name }) => name.endsWith("experts.down_proj"));
  expect(experts?.weights?.boxes).toHaveLength(1);
  expect(piecesText(ranks[0]!, "en")).toContain("experts.down_proj");
});

test("a rank that the plan lacks is refused", () => {
  const asked = request("megatron");
  const found = unwrap(plan(asked));
  for (const text of ["16", "-1", "x", "1.5", ""]) {
    expect(() => rankPieces(asked, found, text)).toThrow(TesseraError);
  }
});
