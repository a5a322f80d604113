import fc from "fast-check";
import { expect, test } from "vitest";
import { unwrap } from "../base/index.ts";
import { eplbMaps, placementJson, readPlacement } from "./placement-json.ts";
import { layerSlots } from "./placement.ts";
import { plan } from "./plan.ts";
import { meanLoads, readLoads } from "./read-loads.ts";
import { makeShape } from "./shape.ts";
import { makeUpLoads } from "./synthetic.ts";

const rowsOf = (text: string) =>
  unwrap(readLoads(text)).map((loads) => ({ ids: loads.ids, values: Array.from(loads.values) }));

test("all forms of the same loads read the same", () => {
  const want = [{ ids: [3, 10], values: [1, 2, 3, 4, 5, 6] }];
  const bytes = Buffer.from(Int32Array.from([1, 2, 3, 4, 5, 6]).buffer).toString("base64");
  const forms = [
    '{"layers":{"10":[4,5,6],"3":[1,2,3]}}',
    '{"steps":[{"layers":{"3":[1,2,3],"10":[4,5,6]}}]}',
    "layer,expert,load\n3,0,1\n3,1,2\n3,2,3\n10,0,4\n10,1,5\n10,2,6\n",
    "3,0,1\n3,1,2\n3,2,3\n10,2,6\n10,1,5\n10,0,4",
    "7,3,0,1\n7,3,1,2\n7,3,2,3\n7,10,0,4\n7,10,1,5\n7,10,2,6",
    '{"step":1,"layers":{"3":[1,2,3]}}\n{"step":1,"layers":{"10":[4,5,6]}}\n',
    `{"kind":"hello"}\n{"v":1,"kind":"load","step":7,"layers":[3,10],"counts":{"dtype":"int32","shape":[2,3],"b64":"${bytes}"}}`,
  ];
  for (const form of forms) expect([form, rowsOf(form)]).toEqual([form, want]);
  expect(rowsOf("[[1,2],[3,4]]")).toEqual([{ ids: [0, 1], values: [1, 2, 3, 4] }]);
  expect(rowsOf("[1,2]")).toEqual([{ ids: [0], values: [1, 2] }]);
});

test("steps are averaged", () => {
  const steps = unwrap(readLoads('{"layers":[[1,3]]}\n{"layers":[[3,5]]}'));
  expect(Array.from(unwrap(meanLoads(steps)).values)).toEqual([2, 4]);
  const mixed = unwrap(readLoads('{"layers":[[1,3]]}\n{"layers":[[3]]}'));
  expect(meanLoads(mixed).ok).toBe(false);
});

test("bad files are coded errors with their line", () => {
  const cases: [string, string, number | undefined][] = [
    ["", "EXPERTS_LOADS_EMPTY", undefined],
    ["{}", "EXPERTS_LOADS_FORMAT", undefined],
    ["[]", "EXPERTS_LOADS_EMPTY", undefined],
    ['{"layers":{"a":[1]}}', "EXPERTS_LOADS_FORMAT", undefined],
    ['{"layers":[[1,2],[1]]}', "EXPERTS_LOADS_RAGGED", undefined],
    ['{"layers":[[1,-2]]}', "EXPERTS_LOADS_VALUE", undefined],
    ['{"layers":[[1,null]]}', "EXPERTS_LOADS_VALUE", undefined],
    ['{"layers":[[1]]}\n{"layers":[[1,"x"]]}', "EXPERTS_LOADS_VALUE", 2],
    ['{"layers":[[1]]}\nnope', "EXPERTS_LOADS_FORMAT", 2],
    ["0,0,5\n0,1,NaN", "EXPERTS_LOADS_VALUE", 2],
    ["0,0,5\n0,2,1", "EXPERTS_LOADS_FORMAT", undefined],
    ["0,0,5\n0,1", "EXPERTS_LOADS_FORMAT", 2],
    ["0,0,5\n0,x,1", "EXPERTS_LOADS_FORMAT", 2],
  ];
  for (const [text, code, line] of cases) {
    const read = readLoads(text, "f");
    expect([text, read.ok ? "ok" : read.error.code]).toEqual([text, code]);
    if (!read.ok && line !== undefined) expect(read.error.place).toEqual({ file: "f", line });
  }
});

const request = { experts: 12, ranks: 4, slots: 16, nodes: 2, groups: 4 };
const shape = unwrap(makeShape(request));

test("a placement comes back from its own file, from EPLB's map and from a relocation command", () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const loads = { ...makeUpLoads(2, 12, { kind: "zipf", s: 1 }, seed, 999), ids: [4, 7] };
      const { placement } = unwrap(plan(loads, shape));
      const json = placementJson(placement);
      const forms = [
        json,
        { placement: json },
        eplbMaps(placement),
        { do: "relocate", placement: json.layers },
      ];
      for (const form of forms) {
        expect(unwrap(readPlacement(JSON.stringify(form), [4, 7], shape)).slots).toEqual(placement.slots);
      }
      const maps = eplbMaps(placement);
      maps.logical_to_physical_map.forEach((experts, l) => {
        experts.forEach((slots, e) => {
          const held = slots.filter((s) => s >= 0);
          expect(held.length).toBe(maps.logical_count[l]?.[e]);
          for (const s of held) expect(layerSlots(placement, l)[s]).toBe(e);
        });
      });
    }),
    { numRuns: 10 },
  );
});

test("placements of another model, broken ones and other files are coded errors", () => {
  const { placement } = unwrap(plan(makeUpLoads(1, 12, { kind: "zipf", s: 1 }, 1, 999), shape));
  const good = placementJson(placement);
  const row = Array.from(placement.slots);
  const cases: [unknown, string][] = [
    ["nope", "EXPERTS_PLACEMENT_FORMAT"],
    [{}, "EXPERTS_PLACEMENT_FORMAT"],
    [{ layers: { 0: 5 } }, "EXPERTS_PLACEMENT_FORMAT"],
    [{ ...good, experts: 13 }, "EXPERTS_PLACEMENT_OTHER"],
    [{ ...good, ranks: 8 }, "EXPERTS_PLACEMENT_OTHER"],
    [{ layers: { 1: row } }, "EXPERTS_PLACEMENT_OTHER"],
    [{ layers: { 0: row.slice(1) } }, "EXPERTS_PLACEMENT_OTHER"],
    [{ layers: { 0: row.with(0, 12) } }, "EXPERTS_PLACEMENT_OTHER"],
    [{ layers: { 0: row.with(0, -1) } }, "EXPERTS_PLACEMENT_OTHER"],
    [{ layers: { 0: row.with(0, row[1] as number) } }, "EXPERTS_PLACEMENT_INVALID"],
    [{ layers: { 0: row.toReversed().map((_, s) => s % 12) } }, "EXPERTS_PLACEMENT_INVALID"],
    [{ physical_to_logical_map: [row, row] }, "EXPERTS_PLACEMENT_OTHER"],
  ];
  for (const [document, code] of cases) {
    const read = readPlacement(
      typeof document === "string" ? document : JSON.stringify(document),
      [0],
      shape,
    );
    expect([document, read.ok ? "ok" : read.error.code]).toEqual([document, code]);
  }
});
