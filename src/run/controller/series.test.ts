import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { WorkerMessage } from "../wire/index.ts";
import { readLastStep, readTelemetry, Series, TELEMETRY_FILE } from "./series.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tessera-series-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const step = (rank: number, at: number): WorkerMessage => ({
  v: 1,
  kind: "step",
  run: "r",
  rank,
  step: at,
  t: at,
  attempt: 1,
  loss: 1 / at,
});
const told = () => readTelemetry(folder).map((one) => `${one.rank}:${one.step}`);

test("cut at any byte, the file opens with whole lines only, and what is sent again is taken once", () => {
  const messages = Array.from({ length: 6 }, (_, i) => step(0, i + 1));
  const path = join(folder, TELEMETRY_FILE);
  const writeAll = () => {
    const series = new Series(folder, 1);
    for (const [i, one] of messages.entries()) series.write("0", 1, i + 1, one);
    series.close();
  };
  writeAll();
  const whole = readFileSync(path);
  fc.assert(
    fc.property(fc.nat(whole.length), (at) => {
      writeFileSync(path, whole);
      truncateSync(path, at);
      const before = told();
      expect(before).toEqual(messages.slice(0, before.length).map((one) => `0:${one.step}`));
      // The agent had no answer, and sends all of it again.
      writeAll();
      expect(readFileSync(path)).toEqual(whole);
    }),
  );
});

test("another agent instance counts anew; the newest step is that of rank 0", () => {
  const series = new Series(folder, 2);
  expect(series.write("0", 1, 5, step(0, 1))).toBe(true);
  expect(series.write("0", 1, 5, step(0, 1))).toBe(false);
  expect(series.write("0", 2, 1, step(0, 2))).toBe(true);
  expect(series.write("0", 2, 2, step(1, 3))).toBe(true);
  series.close();
  expect(told()).toEqual(["0:1", "0:2", "1:3"]);
  expect(readLastStep(folder)?.step).toBe(2);
});

test("a large world leaves no more lines a step than a small one, every rank speaks in turn, rank 0 always", () => {
  const world = 1000;
  const steps = 16;
  const series = new Series(folder, world);
  for (let at = 1; at <= steps; at++)
    for (let rank = 0; rank < world; rank++) series.write("0", 1, at * world + rank, step(rank, at));
  series.close();
  const lines = told();
  expect(lines.length).toBeLessThanOrEqual(steps * 65);
  expect(lines.filter((one) => one.startsWith("0:"))).toHaveLength(steps);
  expect(new Set(lines.map((one) => one.split(":")[0])).size).toBe(world);
});
