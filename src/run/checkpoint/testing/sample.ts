import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sha256 } from "../../../base/node.ts";
import type { ExportOptions } from "../export.ts";

/** Python's `json.dumps(value, sort_keys=True)`. */
function oneLine(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(oneLine).join(", ")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, one]) => `"${key}": ${oneLine(one)}`).join(", ")}}`;
}

/** The manifest of what lies there now, as the engine writes it. */
export function seal(folder: string): void {
  const files = ["index.json", "rank-0.bin"].map((name) => {
    const content = readFileSync(join(folder, name));
    return { bytes: content.length, name, sha256: sha256(content) };
  });
  const document = { facts: { param: "float32" }, files, schema: "tessera.checkpoint/v1", step: 7 };
  const { facts, schema, step } = document;
  const sealed = { facts, files, schema, sha256: sha256(oneLine(document)), step };
  writeFileSync(join(folder, "manifest.json"), `${JSON.stringify(sealed, null, 1)}\n`);
}

/** A checkpoint of one dense tensor in two pieces and two experts, and its model. */
export function sampleCheckpoint(home: string, names = true): ExportOptions {
  const folder = join(home, "step-00000007");
  mkdirSync(folder);
  const numbers = Float32Array.from({ length: 24 }, (_, i) => i / 3);
  writeFileSync(join(folder, "rank-0.bin"), Buffer.from(numbers.buffer));
  const piece = (offsets: number[], sizes: number[], start: number) => ({
    offsets,
    sizes,
    file: "rank-0.bin",
    start,
  });
  const tensors = {
    "model/norm.weight": {
      dtype: "float32",
      shape: [2, 4],
      pieces: [piece([0, 2], [2, 2], 0), piece([0, 0], [2, 2], 16)],
      ...(names ? { names: ["norm.weight"] } : {}),
    },
    "model/experts.up": {
      dtype: "float32",
      shape: [2, 4, 2],
      pieces: [piece([1, 0, 0], [1, 4, 2], 32), piece([0, 0, 0], [1, 4, 2], 64)],
      names: ["experts.{}.gate", "experts.{}.up"],
    },
    "exp_avg/norm.weight": { dtype: "float32", shape: [1], pieces: [piece([0], [1], 0)] },
  };
  writeFileSync(join(folder, "index.json"), JSON.stringify({ tensors }));
  seal(folder);
  mkdirSync(join(home, "model"));
  writeFileSync(join(home, "model/config.json"), '{"torch_dtype": "bfloat16", "eps": 1e-06}');
  writeFileSync(join(home, "model/tokenizer.json"), "{}");
  return { checkpoint: folder, model: join(home, "model"), out: join(home, "out") };
}
