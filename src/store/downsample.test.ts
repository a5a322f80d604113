import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bucketize, splitRewound } from "./downsample.ts";

describe("buckets", () => {
  const series = fc
    .array(fc.tuple(fc.nat(50), fc.oneof(fc.double({ noDefaultInfinity: true }), fc.constant(Number.NaN))), {
      minLength: 1,
      maxLength: 300,
    })
    .map((steps) => {
      let x = 0;
      return { x: steps.map(([gap]) => (x += gap)), y: steps.map(([, value]) => value) };
    });

  test("lose no value: greatest, least, last and counts are those of the series", () => {
    fc.assert(
      fc.property(series, fc.integer({ min: 1, max: 80 }), ({ x, y }, count) => {
        const buckets = bucketize(x, y, count);
        expect(buckets.length).toBeLessThanOrEqual(count);
        const numbers = y.filter((value) => !Number.isNaN(value));
        const finite = buckets.filter((bucket) => bucket.nan < bucket.count);
        if (numbers.length > 0) {
          expect(Math.max(...finite.map((bucket) => bucket.max))).toBe(Math.max(...numbers));
          expect(Math.min(...finite.map((bucket) => bucket.min))).toBe(Math.min(...numbers));
        }
        expect(buckets.reduce((sum, bucket) => sum + bucket.count, 0)).toBe(y.length);
        expect(buckets.reduce((sum, bucket) => sum + bucket.nan, 0)).toBe(y.length - numbers.length);
        expect(buckets.at(-1)?.last).toBe(y.at(-1));
        const xs = buckets.map((bucket) => bucket.x);
        expect(xs).toEqual([...xs].sort((a, b) => a - b));
      }),
    );
  });

  test("one spike in a million steps is seen at 600 pixels", () => {
    const n = 1_000_000;
    const y = new Float64Array(n).fill(1);
    y[123_456] = 40;
    const x = Float64Array.from(y, (_, i) => i);
    const buckets = bucketize(x, y, 600);
    expect(buckets).toHaveLength(600);
    expect(buckets.filter((bucket) => bucket.max === 40)).toHaveLength(1);
    expect(bucketize([], [], 10)).toEqual([]);
    expect(bucketize([5], [7], 10)).toEqual([{ x: 5, min: 7, max: 7, last: 7, count: 1, nan: 0 }]);
  });
});

describe("steps trained again", () => {
  test("only the last writing counts", () => {
    expect(splitRewound([1, 2, 3, 4, 2, 3, 4, 5])).toEqual({ kept: [0, 4, 5, 6, 7], lost: [1, 2, 3] });
    expect(splitRewound([])).toEqual({ kept: [], lost: [] });
  });

  test("what counts rises by step, and together they are everything", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(30)), (steps) => {
        const { kept, lost } = splitRewound(steps);
        const values = kept.map((i) => steps[i] as number);
        expect(values).toEqual([...new Set(values)].sort((a, b) => a - b));
        expect([...kept, ...lost].sort((a, b) => a - b)).toEqual(steps.map((_, i) => i));
        // Slow twin: a record counts if no later one is of its step or an earlier one.
        for (const i of kept)
          expect(steps.slice(i + 1).every((later) => later > (steps[i] as number))).toBe(true);
        for (const i of lost)
          expect(steps.slice(i + 1).some((later) => later <= (steps[i] as number))).toBe(true);
      }),
    );
  });
});
