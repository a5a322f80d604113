import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { exportedConfig } from "./config.ts";
import { convert } from "./dtype.ts";
import { exportCheckpoint } from "./export.ts";
import { runs } from "./read.ts";
import { sampleCheckpoint, seal } from "./testing/sample.ts";

/** Byte equality with safetensors' own writer and the engine's own reader is proven in `engine/tests/test_export.py`. */

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "tessera-export-"));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

/** Numbers of a tensor in a file that an export wrote. */
function numbersOf(file: string, name: string): number[] {
  const bytes = readFileSync(file);
  const start = 8 + Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.subarray(8, start).toString()) as Record<
    string,
    { data_offsets: number[] }
  >;
  const [from = 0, to = 0] = header[name]?.data_offsets ?? [];
  return [...new Float32Array(new Uint8Array(bytes.subarray(start + from, start + to)).buffer)];
}

const thirds = (...of: number[]) => of.map((n) => Math.fround(n / 3));

test("pieces of ranks become tensors with their own names, in files of the size that is asked", async () => {
  const seen: [number, number][] = [];
  const options = sampleCheckpoint(home);
  const done = await exportCheckpoint({ ...options, onProgress: (...at) => seen.push(at) });
  expect(done).toEqual({ step: 7, tensors: 5, shards: 1, bytes: 96 });
  const file = join(options.out, "model.safetensors");
  expect(numbersOf(file, "norm.weight")).toEqual(thirds(4, 5, 0, 1, 6, 7, 2, 3));
  expect(numbersOf(file, "experts.0.gate")).toEqual(thirds(16, 17, 18, 19));
  expect(numbersOf(file, "experts.1.up")).toEqual(thirds(12, 13, 14, 15));
  expect(readFileSync(join(options.out, "config.json"), "utf8")).toBe(
    '{\n  "dtype": "float32",\n  "eps": 1e-06\n}\n',
  );
  expect(seen.at(-1)?.[0]).toBe(seen.at(-1)?.[1]);
  // A second one takes the place of the first, whole.
  await exportCheckpoint({ ...options, maxShardBytes: 40 });
  expect(readdirSync(options.out).sort()).toEqual([
    "config.json",
    ...[1, 2, 3].map((n) => `model-0000${n}-of-00003.safetensors`),
    "model.safetensors.index.json",
    "tokenizer.json",
  ]);
  expect(readdirSync(home).sort()).toEqual(["model", "out", "step-00000007"]);
});

test.each([
  ["a bit of a weight", "rank-0.bin", (bytes: Buffer) => bytes.fill(1, 5, 6), "sha256"],
  ["a file's end", "rank-0.bin", (bytes: Buffer) => bytes.subarray(0, -4), "92 bytes, not 96"],
  [
    "the step",
    "manifest.json",
    (bytes: Buffer) => Buffer.from(String(bytes).replace("7", "8")),
    "its checksum",
  ],
  ["the index", "index.json", (bytes: Buffer) => bytes.subarray(0, 40), "JSON"],
])("damage to %s is found before anything is written", async (_what, name, spoil, why) => {
  const options = sampleCheckpoint(home);
  const file = join(options.checkpoint, name);
  writeFileSync(file, spoil(readFileSync(file)));
  await expect(exportCheckpoint(options)).rejects.toMatchObject({
    code: "RUN_CHECKPOINT_DAMAGED",
    params: { path: file, why: expect.stringContaining(why) },
    place: { file },
  });
  expect(existsSync(options.out)).toBe(false);
});

test("pieces that leave a hole, a file that is gone, names that are missing, a config that is none", async () => {
  const options = sampleCheckpoint(home);
  const index = join(options.checkpoint, "index.json");
  const whole = readFileSync(index, "utf8");
  writeFileSync(index, whole.replace('"offsets":[0,2],"sizes":[2,2]', '"offsets":[0,2],"sizes":[1,2]'));
  seal(options.checkpoint);
  await expect(exportCheckpoint(options)).rejects.toThrow("RUN_CHECKPOINT_DAMAGED");
  writeFileSync(index, whole);
  seal(options.checkpoint);
  rmSync(join(options.checkpoint, "rank-0.bin"));
  await expect(exportCheckpoint(options)).rejects.toMatchObject({
    code: "RUN_CHECKPOINT_DAMAGED",
    params: { why: "ENOENT" },
  });
  rmSync(home, { recursive: true });
  mkdirSync(home);
  await expect(exportCheckpoint(sampleCheckpoint(home, false))).rejects.toMatchObject({
    code: "RUN_CHECKPOINT_NAMES",
    params: { tensor: "model/norm.weight" },
  });
  rmSync(join(home, "model/config.json"));
  rmSync(join(home, "step-00000007"), { recursive: true });
  rmSync(join(home, "model"), { recursive: true });
  const last = sampleCheckpoint(home);
  writeFileSync(join(home, "model/config.json"), "{");
  await expect(exportCheckpoint(last)).rejects.toMatchObject({ code: "RUN_MODEL" });
  expect(readdirSync(home).sort()).toEqual(["model", "step-00000007"]);
});

test("whoever stops it, and a folder that cannot be written, leave nothing behind", async () => {
  const options = sampleCheckpoint(home);
  const stop = new AbortController();
  const onProgress = (done: number, total: number) => done > total - 60 && stop.abort(new Error("stopped"));
  await expect(exportCheckpoint({ ...options, signal: stop.signal, onProgress })).rejects.toThrow("stopped");
  expect(readdirSync(home).sort()).toEqual(["model", "step-00000007"]);
  // A file where the folder's parent should be.
  const out = join(options.model, "tokenizer.json", "out");
  await expect(exportCheckpoint({ ...options, out })).rejects.toMatchObject({
    code: "RUN_EXPORT_WRITE",
    params: { path: out, why: "ENOTDIR" },
  });
});

test("numbers keep their text, keys are sorted, what JSON does not know stays", () => {
  const text =
    '{"b": [1.0, -Infinity, {}], "a\\"1": {"10": "x 2e5", "9": "é"}, "torch_dtype": null, "dtype": "x"}';
  expect(exportedConfig(text, "bfloat16")).toBe(
    '{\n  "a\\"1": {\n    "10": "x 2e5",\n    "9": "\\u00e9"\n  },\n  "b": [\n    1.0,\n    -Infinity,\n    {}\n  ],\n  "dtype": "bfloat16"\n}\n',
  );
});

/** The nearest of all numbers that bfloat16 has, of two equally near ones the even one: by trying both neighbours. */
function nearest(value: number): number {
  const bits = new Uint32Array(new Float32Array([value]).buffer)[0] as number;
  const of = (high: number) => new Float32Array(new Uint32Array([(high << 16) >>> 0]).buffer)[0] as number;
  const [low, high] = [bits >>> 16, (bits >>> 16) + 1];
  // Beyond the largest number the next one would be 2^128.
  const top = Number.isFinite(of(high)) ? of(high) : Math.sign(value) * 2 ** 128;
  const [down, up] = [Math.abs(value - of(low)), Math.abs(top - value)];
  return down < up || (down === up && low % 2 === 0) ? low : high;
}

test("float32 becomes the nearest bfloat16, ties to even, and comes back as it was", () => {
  const as16 = (values: number[]) =>
    new Uint16Array(convert(new Uint8Array(Float32Array.from(values).buffer), "float32", "bfloat16").buffer);
  expect([...as16([1, 1.00390625, 1.01171875, 3.4e38, -0, Number.POSITIVE_INFINITY, Number.NaN])]).toEqual([
    0x3f80, 0x3f80, 0x3f82, 0x7f80, 0x8000, 0x7f80, 0x7fc0,
  ]);
  fc.assert(
    fc.property(fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 1 }), (values) => {
      const narrow = as16(values);
      expect([...narrow]).toEqual(values.map(nearest));
      const wide = convert(new Uint8Array(narrow.buffer), "bfloat16", "float32");
      expect([...as16([...new Float32Array(wide.buffer)])]).toEqual([...narrow]);
    }),
  );
});

const box = (dims: number) =>
  fc.tuple(
    fc.array(fc.nat(3), { minLength: dims, maxLength: dims }),
    fc.array(fc.integer({ min: 1, max: 4 }), { minLength: dims, maxLength: dims }),
  );

/** Every number of a box by its place, in row-major order. */
function places(start: readonly number[], shape: readonly number[]): string[] {
  let found = [""];
  for (const [d, size] of shape.entries()) {
    found = found.flatMap((at) =>
      Array.from({ length: size }, (_, i) => `${at},${(start[d] as number) + i}`),
    );
  }
  return found;
}

test("what a piece and a box share is copied from and to the same places, in as few runs as stand together", () => {
  fc.assert(
    fc.property(
      fc.nat(3).chain((dims) => fc.tuple(box(dims), box(dims))),
      ([[offsets, sizes], [start, shape]]) => {
        const [have, want] = [places(offsets, sizes), places(start, shape)];
        const copied = new Map<string, string>();
        let end = -1;
        for (const { from, to, count } of runs({ offsets, sizes }, { start, shape })) {
          expect(from).toBeGreaterThan(end);
          end = from;
          for (let i = 0; i < count; i++) copied.set(want[to + i] as string, have[from + i] as string);
        }
        const shared = want.filter((at) => have.includes(at));
        expect([...copied].sort()).toEqual(shared.map((at) => [at, at]).sort());
      },
    ),
  );
  const whole = [...runs({ offsets: [2, 0, 0], sizes: [4, 3, 5] }, { start: [3, 0, 0], shape: [2, 3, 5] })];
  expect(whole).toEqual([{ from: 15, to: 0, count: 30 }]);
});
