import fc from "fast-check";
import { expect, test } from "vitest";
import { fitMoveCost, secondsOfMove } from "./move-cost.ts";

const DESIGN = [
  [1, 1e6],
  [4, 4e6],
  [1, 8e6],
] as const;

test("costs are found again from what they made, with errors as large as those put in", () => {
  const cost = fc.record({
    fixed: fc.double({ min: 1e-3, max: 0.1, noNaN: true }),
    layer: fc.double({ min: 1e-4, max: 0.1, noNaN: true }),
    byte: fc.double({ min: 1e-10, max: 1e-8, noNaN: true }),
  });
  fc.assert(
    fc.property(cost, ({ fixed, layer, byte }) => {
      const of = (layers: number, bytes: number) => fixed + layer * layers + byte * bytes;
      const samples = DESIGN.flatMap(([layers, bytes]) =>
        [0.95, 1, 1.05].map((noise) => ({ layers, bytes, seconds: of(layers, bytes) * noise })),
      );
      const fit = fitMoveCost(samples);
      if (!fit) throw new Error("no fit");
      for (const [layers, bytes] of [...DESIGN, [2, 3e6] as const]) {
        expect(Math.abs(secondsOfMove(fit, layers, bytes) / of(layers, bytes) - 1)).toBeLessThan(0.06);
      }
      expect(fit.spread).toBeLessThan(0.06);
      expect(Math.min(fit.fixedSeconds, fit.layerSeconds, fit.secondsPerByte)).toBeGreaterThanOrEqual(0);
    }),
  );
});

test("what samples cannot tell apart is left out, and nothing comes of nothing", () => {
  const one = fitMoveCost([
    { layers: 1, bytes: 100, seconds: 2 },
    { layers: 1, bytes: 100, seconds: 2.2 },
  ]);
  expect(one && secondsOfMove(one, 1, 100)).toBeCloseTo(2.1, 1);
  expect(fitMoveCost([])).toBeUndefined();
  expect(fitMoveCost([{ layers: 1, bytes: 0, seconds: 1 }])).toBeUndefined();
});

test("a noisy rehearsal in which more takes less time gives no negative cost", () => {
  const fit = fitMoveCost([
    { layers: 1, bytes: 100, seconds: 3 },
    { layers: 4, bytes: 400, seconds: 2 },
    { layers: 1, bytes: 800, seconds: 2.5 },
  ]);
  expect(fit && Math.min(fit.fixedSeconds, fit.layerSeconds, fit.secondsPerByte)).toBeGreaterThanOrEqual(0);
});
