import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeTensors, encodeTensors, type Tensor } from "./safetensors.ts";

const tensor: fc.Arbitrary<Tensor> = fc
  .tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 1, max: 5 }), fc.constantFrom("I32", "F32", "U8"))
  .chain(([rows, columns, dtype]): fc.Arbitrary<Tensor> => {
    const count = { minLength: rows * columns, maxLength: rows * columns };
    const shape = [rows, columns];
    if (dtype === "I32") return fc.int32Array(count).map((data) => ({ dtype, shape, data }));
    if (dtype === "F32")
      return fc.float32Array({ ...count, noNaN: true }).map((data) => ({ dtype, shape, data }));
    return fc.uint8Array(count).map((data) => ({ dtype: "U8" as const, shape, data }));
  });
const tensors = fc.dictionary(fc.stringMatching(/^[a-z_]{1,8}$/), tensor, { minKeys: 1, maxKeys: 4 });
const metadata = fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), fc.string({ maxLength: 8 }), {
  maxKeys: 2,
});

test("what is written is read", () => {
  fc.assert(
    fc.property(tensors, metadata, (all, words) => {
      const read = decodeTensors(encodeTensors(all, words));
      expect(read.metadata).toEqual({ ...words });
      expect({ ...read.tensors }).toEqual({ ...all });
    }),
  );
});

test("a file cut anywhere is refused", () => {
  fc.assert(
    fc.property(tensors, fc.nat(), (all, at) => {
      const bytes = encodeTensors(all);
      expect(() => decodeTensors(bytes.subarray(0, at % bytes.length))).toThrow(/DATA_TENSORS/);
    }),
  );
});

test("any flipped bit is found", () => {
  fc.assert(
    fc.property(tensors, fc.nat(), fc.integer({ min: 0, max: 7 }), (all, at, bit) => {
      const bytes = Uint8Array.from(encodeTensors(all, { format: "x" }));
      const place = at % bytes.length;
      bytes[place] = (bytes[place] as number) ^ (1 << bit);
      expect(() => decodeTensors(bytes)).toThrow(/DATA_TENSORS/);
    }),
    { numRuns: 500 },
  );
});

test("a shape that does not fit its data is a bug and throws", () => {
  expect(() => encodeTensors({ a: { dtype: "U8", shape: [2], data: new Uint8Array(3) } })).toThrow(
    RangeError,
  );
});
