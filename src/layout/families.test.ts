import { expect, test } from "vitest";
import { unwrap } from "../base/index.ts";
import { CLASS_TOTALS } from "../model/testing/class-totals.ts";
import { estimate, readCase } from "./index.ts";

test.each(CLASS_TOTALS)("%s gets finite seconds and bytes that add up", (type, _total, fields) => {
  for (const engine of ["megatron", "tessera"]) {
    const given = {
      model: { model_type: type, ...fields },
      cluster: "h100:16",
      engine,
      layout: { pp: 2 },
      training: { sequence: 1024, globalBatch: 32 },
    };
    const { time, memory, free } = estimate(unwrap(readCase(given)));
    // JSON writes what is no number as null.
    expect(JSON.stringify([time, memory.classes, free])).not.toContain("null");
    const sum = Object.values(time.breakdown).reduce((a, b) => a + b, 0);
    expect(sum / time.seconds).toBeCloseTo(1, 9);
    expect(time.seconds).toBeGreaterThan(0);
    expect(time.mfu.model).toBeGreaterThan(0);
    expect(time.mfu.model).toBeLessThan(1);
  }
});
