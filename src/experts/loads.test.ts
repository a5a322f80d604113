import fc from "fast-check";
import { expect, test } from "vitest";
import { unwrap } from "../base/index.ts";
import { layerLoads, makeLoads } from "./loads.ts";
import { checkPlacement, startPlacement } from "./placement.ts";
import { makeShape, type ShapeRequest, valuesOfRanks } from "./shape.ts";

const codeOf = (result: { ok: boolean; error?: unknown }) =>
  result.ok ? "ok" : (result as { error: { code: string } }).error.code;

test("bad loads are coded errors", () => {
  expect(codeOf(makeLoads([]))).toBe("EXPERTS_LOADS_EMPTY");
  expect(codeOf(makeLoads([[]]))).toBe("EXPERTS_LOADS_EMPTY");
  expect(codeOf(makeLoads([[1, 2], [3]]))).toBe("EXPERTS_LOADS_RAGGED");
  for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY, null, "7", undefined]) {
    expect(codeOf(makeLoads([[1, value as number]]))).toBe("EXPERTS_LOADS_VALUE");
  }
  expect(codeOf(makeLoads([[0, 0]]))).toBe("ok");
});

test("good loads come back as they were", () => {
  fc.assert(
    fc.property(fc.array(fc.array(fc.nat(), { minLength: 3, maxLength: 3 }), { minLength: 1 }), (rows) => {
      const loads = unwrap(makeLoads(rows));
      expect(rows.map((_, l) => Array.from(layerLoads(loads, l)))).toEqual(rows);
    }),
  );
});

test("impossible shapes are coded errors", () => {
  const cases: [ShapeRequest, string][] = [
    [{ experts: 8, ranks: 4, slots: 4 }, "EXPERTS_FEW_SLOTS"],
    [{ experts: 8, ranks: 4, slots: 36 }, "EXPERTS_MANY_SLOTS"],
    [{ experts: 8, ranks: 4, slots: 10 }, "EXPERTS_SHAPE"],
    [{ experts: 8, ranks: 0 }, "EXPERTS_SHAPE"],
    [{ experts: 8.5, ranks: 4 }, "EXPERTS_SHAPE"],
    [{ experts: 8, ranks: 4, nodes: 3 }, "EXPERTS_SHAPE"],
    [{ experts: 8, ranks: 4, groups: 3 }, "EXPERTS_SHAPE"],
    [{ experts: 8, ranks: 4, slotsPerRank: [2, 2, 2] }, "EXPERTS_SHAPE"],
    [{ experts: 8, ranks: 4, speed: [1, 1, 0, 1] }, "EXPERTS_SHAPE"],
    [
      { experts: 8, ranks: 4, slots: 12, nodes: 2, groups: 4, slotsPerRank: [1, 2, 4, 3] },
      "EXPERTS_FEW_SLOTS",
    ],
    [{ experts: 8, ranks: 4, memory: { bytesPerSlot: 10, budgetBytes: [10, 20, 20, 20] } }, "EXPERTS_MEMORY"],
  ];
  for (const [request, code] of cases) expect([request, codeOf(makeShape(request))]).toEqual([request, code]);
});

test("memory caps the slots of the rank that has less", () => {
  const memory = { bytesPerSlot: 10, budgetBytes: [25, 45, 99, 30] };
  const shape = unwrap(makeShape({ experts: 8, ranks: 4, slots: 16, memory }));
  expect(Array.from(shape.slotStart)).toEqual([0, 2, 6, 10, 13]);
});

test("the starting placement keeps the rules for every shape", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 16, maxLength: 16 }),
      fc.integer({ min: 0, max: 30 }),
      fc.boolean(),
      (nodes, perNode, counts, less, grouped) => {
        const slotsPerRank = Array.from({ length: nodes * perNode }, (_, r) => counts[r % perNode] as number);
        const node = slotsPerRank.slice(0, perNode);
        const slots = node.reduce((sum, s) => sum + s, 0);
        const experts = nodes * Math.max(Math.max(...node), slots - less);
        const made = makeShape({
          experts,
          ranks: nodes * perNode,
          slotsPerRank,
          nodes,
          groups: grouped ? nodes : 1,
        });
        const shape = unwrap(made);
        unwrap(checkPlacement(startPlacement([0, 5], shape)));
      },
    ),
    { numRuns: 300 },
  );
});

test("a rank that does not exist is a coded error", () => {
  expect(unwrap(valuesOfRanks(3, new Map([[1, 0.5]]), 1))).toEqual([1, 0.5, 1]);
  for (const rank of [3, -1, 0.5])
    expect(codeOf(valuesOfRanks(3, new Map([[rank, 1]]), 1))).toBe("EXPERTS_RANK");
});
