import { expect, test } from "vitest";
import { unwrap } from "../../base/index.ts";
import { makeLoads, makeShape, startPlacement } from "../../experts/index.ts";
import { guard, NO_GUARD } from "./memory.ts";
import { POLICY, TOPOLOGY } from "./testing/world.ts";
import type { WholeStep } from "./types.ts";

/** Ten steps of one layer whose first rank keeps 900 rows of 1,000 bytes beside 100,000 bytes that it needs anyway. */
function history(peakBytes = 1_000_000): WholeStep[] {
  const loads = unwrap(makeLoads([[600, 300, 50, 50]], [1]));
  const placement = startPlacement([1], unwrap(makeShape({ experts: 4, ranks: 2 })));
  const each = Float64Array.from([1, 1]);
  return Array.from({ length: 10 }, (_, i) => ({
    step: i + 1,
    seconds: 3,
    t: i,
    heardAt: i,
    boundarySeconds: 0,
    loads,
    placement,
    stageOf: [0],
    busy: each,
    exchange: each,
    experts: each,
    rows: each,
    dropped: 0,
    sent: [0, 0, 0],
    links: null,
    peakBytes,
  }));
}

const topology = { ...TOPOLOGY, world: 2, pp: 1, ep: 2, groups: 1, microBatches: 1, inFlight: 1 };
const lineAt = (memoryBytes: number, more: object = {}) =>
  guard(NO_GUARD, history(), { ...topology, ...more }, { ...POLICY, memoryBytes }, () => undefined).event
    ?.line;

test("what is advised can be done: one sample is not cut in two, and nothing is recomputed twice", () => {
  expect(lineAt(950_000)?.zh).toMatch(/：微批次減半（每步多 300 ms）$/);
  expect(lineAt(950_000, { microBatch: 1 })?.en).toMatch(/: recompute activations \(1\.00 s a step\)$/);
  expect(lineAt(950_000, { microBatch: 1, recompute: true })?.en).toMatch(/no remedy is enough/);
  expect(lineAt(1_100_000)).toBeUndefined();
});

test("a peak from before this history stands for the rows that made it", () => {
  const ask = (mostRows: number) =>
    guard(
      { ...NO_GUARD, mostRows },
      history(2_000_000),
      topology,
      { ...POLICY, memoryBytes: 2_000_000 },
      () => undefined,
    );
  expect(ask(0).event?.action).toBe("advise");
  expect(ask(2000).event).toBeUndefined();
  expect(ask(2000).state.mostRows).toBe(2000);
});
