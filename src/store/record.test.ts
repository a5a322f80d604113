import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { encodeArray, Series, type WorkerMessage } from "../run/index.ts";
import { MemorySeries, readSeries, recordMessage, type SeriesSource } from "./index.ts";

const envelope = { v: 1 as const, run: "r", attempt: 1 };
const stepMessage = (rank: number, step: number, more: object = {}): WorkerMessage => ({
  ...envelope,
  kind: "step",
  rank,
  step,
  t: 100 + step,
  loss: 4 - step,
  gradNorm: "NaN",
  learningRate: 0.001,
  tokens: 2048,
  seconds: 0.5,
  cursor: step,
  memory: { weights: 10, peak: 30 },
  spans: { forward: 0.2 },
  ...more,
});
const MESSAGES: WorkerMessage[] = [
  { ...envelope, kind: "hello", rank: 0, step: 0, t: 100, pid: 9 },
  stepMessage(0, 1, { mtpLoss: 0.5 }),
  stepMessage(1, 1),
  {
    ...envelope,
    kind: "load",
    rank: 1,
    step: 1,
    t: 101,
    layers: [3, 5],
    counts: encodeArray("int32", [2, 4], [1, 2, 3, 4, 5, 6, 7, 8]),
  },
  {
    ...envelope,
    kind: "load",
    rank: 1,
    step: 2,
    t: 102,
    layers: [3],
    counts: { dtype: "int32", shape: [1, 4], b64: "AA" },
  },
  { ...envelope, kind: "aKindOfALaterVersion", rank: 0, step: 2, t: 102 },
];

function check(source: SeriesSource): void {
  expect(source.names()).toEqual({
    scalars: [
      "gradNorm",
      "learningRate",
      "loss",
      "mtpLoss",
      "rank0/memory/peak",
      "rank0/memory/weights",
      "rank0/seconds",
      "rank0/span/forward",
      "rank1/memory/peak",
      "rank1/memory/weights",
      "rank1/seconds",
      "rank1/span/forward",
      "seconds",
      "throughput",
      "tokens",
    ],
    matrices: ["load/3", "load/5"],
  });
  expect([...source.scalar("loss").value]).toEqual([3]);
  expect([...source.scalar("gradNorm").value]).toEqual([Number.NaN]);
  expect([...source.scalar("throughput").value]).toEqual([4096]);
  expect(source.scalar("mtpLoss").t[0]).toBe(101);
  expect(source.matrix("load/5")).toMatchObject({ rows: 1, columns: 4, type: "int32", step: [1] });
  expect([...source.matrix("load/5").read(0)]).toEqual([5, 6, 7, 8]);
  expect(() => source.scalar("nothing")).toThrow(/STORE_NO_SERIES/);
  expect(() => source.matrix("load/5").read(1)).toThrow(RangeError);
}

test("messages become series, the same from the telemetry file", () => {
  const memory = new MemorySeries();
  for (const message of MESSAGES) recordMessage(memory, message);
  check(memory);
  const folder = mkdtempSync(join(tmpdir(), "tessera-record-"));
  try {
    expect(readSeries(folder).names()).toEqual({ scalars: [], matrices: [] });
    const telemetry = new Series(folder, 2);
    for (const [i, message] of MESSAGES.entries()) telemetry.write("0", 1, i + 1, message);
    telemetry.close();
    check(readSeries(folder));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  expect(() => memory.appendMatrix("load/5", 2, 0, 1, 3, new Int32Array(3))).toThrow(/STORE_SHAPE/);
});
