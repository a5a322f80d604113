import fc from "fast-check";
import { expect, test } from "vitest";
import { Random, unwrap } from "../base/index.ts";
import { LoadMonitor } from "./digest.ts";
import { guardMemory, type Remedy } from "./guard.ts";
import { startPlacement } from "./placement.ts";
import { makeShape } from "./shape.ts";
import { splitBound } from "./split-bound.ts";

const shape = unwrap(makeShape({ experts: 8, ranks: 4 }));

test("the digest of a step is that of the summed counts, in whatever order ranks report", () => {
  const reports = fc.array(fc.array(fc.nat(100), { minLength: 16, maxLength: 16 }), {
    minLength: 1,
    maxLength: 6,
  });
  fc.assert(
    fc.property(reports, fc.integer(), (rows, seed) => {
      const digestOf = (order: number[][]) => {
        const monitor = new LoadMonitor(startPlacement([3, 9], shape));
        for (const row of order) expect(monitor.add([9, 3], Int32Array.from(row))).toBe(true);
        return monitor.close(5);
      };
      const digest = digestOf(rows);
      expect(digestOf(new Random(seed).shuffle(rows))).toEqual(digest);
      expect([digest.step, digest.reports]).toEqual([5, rows.length]);
      const sums = Array.from({ length: 8 }, (_, e) =>
        rows.reduce((sum, row) => sum + (row[8 + e] as number), 0),
      );
      const layer = digest.layers[0] as (typeof digest.layers)[0];
      const tokens = sums.reduce((a, b) => a + b, 0);
      expect([layer.layer, layer.tokens, layer.deadExperts]).toEqual([
        3,
        tokens,
        sums.filter((w) => w === 0).length,
      ]);
      if (tokens === 0) return;
      expect(layer.maxVio).toBeCloseTo((Math.max(...sums) * 8) / tokens - 1, 9);
      const shares = sums.map((w) => w / tokens).filter((p) => p > 0);
      const entropy = -shares.reduce((sum, p) => sum + p * Math.log(p), 0) / Math.log(8);
      expect(layer.entropy).toBeCloseTo(entropy, 9);
      const variance = sums.reduce((sum, w) => sum + (w - tokens / 8) ** 2, 0) / 8;
      expect(layer.cv).toBeCloseTo(Math.sqrt(variance) / (tokens / 8), 9);
      const ranks = [0, 1, 2, 3].map((r) => (sums[2 * r] as number) + (sums[2 * r + 1] as number));
      expect(layer.realised).toBeCloseTo((Math.max(...ranks) * 4) / tokens, 9);
      expect(layer.toBound).toBeGreaterThanOrEqual(1 - 1e-9);
    }),
  );
});

test("unknown layers and counts of another model are refused and change nothing", () => {
  const monitor = new LoadMonitor(startPlacement([0], shape));
  expect(monitor.add([1], new Int32Array(8))).toBe(false);
  expect(monitor.add([0], new Int32Array(7))).toBe(false);
  expect(monitor.close(0).reports).toBe(0);
});

test("planned balance is reported beside the realised one once experts moved", () => {
  const monitor = new LoadMonitor(startPlacement([0], shape));
  expect(monitor.close(0).layers[0]?.planned).toBeUndefined();
  monitor.moved(startPlacement([0], shape), [1.01]);
  expect(monitor.close(1).layers[0]?.planned).toBe(1.01);
});

test("the free-split bound is that of all sets of ranks, and its set proves it", () => {
  const layer = fc.record({
    slots: fc.array(fc.uniqueArray(fc.integer({ min: 0, max: 5 }), { minLength: 2, maxLength: 2 }), {
      minLength: 4,
      maxLength: 4,
    }),
    loads: fc.array(fc.nat(100), { minLength: 6, maxLength: 6 }),
  });
  fc.assert(
    fc.property(layer, ({ slots, loads }) => {
      const wide = unwrap(makeShape({ experts: 6, ranks: 4, slots: 8 }));
      const row = Int32Array.from(slots.flat());
      const placed = Float64Array.from(loads, (w, e) => (row.includes(e) ? w : 0));
      const timeOf = (mask: number) => {
        let load = 0;
        let ranks = 0;
        for (let r = 0; r < 4; r++) ranks += (mask >> r) & 1;
        for (let e = 0; e < 6; e++) {
          const on = slots.flatMap((pair, r) => (pair.includes(e) ? [r] : []));
          if (on.length > 0 && on.every((r) => (mask >> r) & 1)) load += placed[e] as number;
        }
        return load / ranks;
      };
      let want = 0;
      for (let mask = 1; mask < 16; mask++) want = Math.max(want, timeOf(mask));
      const bound = splitBound(wide, row, placed);
      expect(bound.time).toBeCloseTo(want, 6);
      const load = bound.experts.reduce((sum, e) => sum + (placed[e] as number), 0);
      expect(load / bound.ranks.length).toBeCloseTo(want, 6);
    }),
    { numRuns: 200 },
  );
});

const remedies: readonly Remedy[] = [
  { kind: "recompute", tokensFactor: 1, bytesFactor: 0.5, secondsPerStep: 3 },
  { kind: "move", tokensFactor: 0.8, bytesFactor: 1, secondsPerStep: 0.1 },
  { kind: "split-microbatch", tokensFactor: 0.5, bytesFactor: 1, secondsPerStep: 1 },
];
const guard = (worstTokens: number[], budgetBytes: number) =>
  guardMemory({ worstTokens, bytesPerToken: 10, fixedBytes: 1000, budgetBytes, remedies });

test("the memory guard takes the cheapest remedy that is enough", () => {
  const tokens = Array.from({ length: 50 }, () => 1000);
  expect(guard(tokens, 20_000).action).toBe("none");
  expect(guard(tokens, 11_000).remedies.map((remedy) => remedy.kind)).toEqual(["move"]);
  expect(guard(tokens, 7000).remedies.map((remedy) => remedy.kind)).toEqual(["split-microbatch"]);
  expect(guard(tokens, 5600).remedies.map((remedy) => remedy.kind)).toEqual(["move", "split-microbatch"]);
  expect(guard(tokens, 1500).action).toBe("impossible");
});

test("forecasts of the worst rank are exceeded about as seldom as they say", () => {
  const random = new Random(8);
  const series: number[] = [];
  let above = 0;
  let tested = 0;
  for (let t = 0; t < 4000; t++) {
    const ranks = Array.from({ length: 64 }, () => 1000 + 40 * random.normal() + 20 * Math.sin(t / 300));
    const worst = Math.max(...ranks);
    if (t >= 50) {
      tested++;
      if (worst > guard(series.slice(-100), 1e9).forecastTokens) above++;
    }
    series.push(worst);
  }
  expect(above / tested).toBeLessThanOrEqual(0.002);
  expect(guard(series, 1e9).forecastTokens).toBeLessThan(1000 * 1.25);
});
