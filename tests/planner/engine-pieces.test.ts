import { execFileSync } from "node:child_process";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { engineCases } from "../../bench/layout/engine-cases.ts";
import { pieceMap } from "../../src/layout/index.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const python = resolve(process.env["TESSERA_VENV"] ?? resolve(ROOT, ".venv"), "bin/python");
type Rank = { error?: string; blocks: Record<string, [number[], number[]][]> };

/** One of each way of cutting: pipeline with experts, experts with FSDP and replicas, uneven rows of a dense model. */
const NAMES = [
  "v4, PP2 x EP2, recompute none",
  "qwen3_moe, EP2 x FSDP2, recompute none",
  "v3, replicate 2 x EP2, recompute none",
  "qwen3, FSDP3, recompute none",
];

test("the piece map says of every real rank which slice of which tensor it holds", () => {
  const cases = engineCases().filter(({ name }) => NAMES.includes(name));
  expect(cases.map(({ name }) => name).sort()).toEqual([...NAMES].sort());
  const out = execFileSync(python, [resolve(ROOT, "bench/layout/engine_dump.py")], {
    input: JSON.stringify(cases.map((one) => one.input)),
    env: { ...process.env, PYTHONPATH: resolve(ROOT, "engine"), OMP_NUM_THREADS: "1", HF_HUB_OFFLINE: "1" },
    maxBuffer: 2 ** 28,
    timeout: 170_000,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const measured = JSON.parse(String(out)) as Rank[][];
  for (const [i, { name, model, layout, training }] of cases.entries()) {
    const map = pieceMap(model, layout, training, { engine: "tessera" });
    const ranks = measured[i] as Rank[];
    expect(ranks).toHaveLength(map.world);
    for (const [rank, real] of ranks.entries()) {
      expect(real.error, `${name}, rank ${rank}`).toBeUndefined();
      const held = map
        .of(rank)
        .filter((piece) => piece.tensor.weight.trained)
        .map(({ tensor, weights }) => [
          tensor.name,
          weights.kind === "slices" ? weights.slices.map(({ offset, size }) => [offset, size]) : [],
        ]);
      expect(Object.fromEntries(held), `${name}, rank ${rank}`).toEqual(
        // The engine names tensors of which it holds nothing, too.
        Object.fromEntries(Object.entries(real.blocks).filter(([, blocks]) => blocks.length > 0)),
      );
    }
  }
});
