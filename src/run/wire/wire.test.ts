import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeArray,
  encodeArray,
  encodeLine,
  known,
  LineDecoder,
  number,
  toAgentMessage,
  toControllerMessage,
  toWorkerMessage,
  toZygoteMessage,
} from "./index.ts";

const envelope = { v: 1, run: "r", rank: 0, step: 3, t: 1.5, attempt: 1 };

test("any cut of the stream gives the same values", () => {
  fc.assert(
    fc.property(
      fc.array(fc.jsonValue(), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 9 })),
      (values, cuts) => {
        const bytes = Buffer.from(values.map(encodeLine).join(""));
        const decoder = new LineDecoder();
        const got: unknown[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = cuts.length > 0 ? (cuts[i % cuts.length] as number) : bytes.length;
          const piece = Buffer.from(bytes.subarray(at, at + size));
          got.push(...decoder.push(piece));
          piece.fill(0);
          at += size;
        }
        expect(got).toEqual(values.map((value) => JSON.parse(JSON.stringify(value)) as unknown));
        expect(decoder.garbage).toBe(0);
      },
    ),
  );
});

test("garbage is counted and the next line is whole", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (noise) => {
      const decoder = new LineDecoder();
      decoder.push(noise);
      decoder.push(Buffer.from("\n"));
      expect(decoder.push(Buffer.from('{"a":1}\n'))).toEqual([{ a: 1 }]);
    }),
  );
});

test("a line without end does not fill the memory", () => {
  const decoder = new LineDecoder(100);
  for (let i = 0; i < 50; i++) expect(decoder.push(Buffer.alloc(10, "x"))).toEqual([]);
  expect(decoder.push(Buffer.from('\n{"b":2}\n'))).toEqual([{ b: 2 }]);
  expect(decoder.garbage).toBe(1);
});

test("NaN and infinities of Python survive", () => {
  const [value] = new LineDecoder().push(Buffer.from('{"loss": NaN, "n": -Infinity, "text": "a NaN, b"}\n'));
  expect(value).toEqual({ loss: "NaN", n: "-Infinity", text: "a NaN, b" });
  expect(number("NaN")).toBeNaN();
  expect(number("-Infinity")).toBe(-Infinity);
});

test("guards take what the contract says and nothing else", () => {
  const step = {
    ...envelope,
    kind: "step",
    loss: 1,
    gradNorm: null,
    learningRate: 1e-3,
    tokens: 9,
    seconds: 0.1,
    cursor: 4,
  };
  const message = toWorkerMessage(step);
  expect(message && known(message)?.kind).toBe("step");
  const future = toWorkerMessage({ ...envelope, kind: "aurora", colour: "green" });
  expect(future).toMatchObject({ kind: "aurora", colour: "green" });
  expect(future && known(future)).toBeUndefined();
  expect(toWorkerMessage({ ...step, rank: "0" })).toBeUndefined();
  expect(toZygoteMessage({ kind: "exited", rank: 0, pid: 4, code: null, signal: 9 })).toBeDefined();
  expect(toZygoteMessage({ kind: "exited", rank: 0 })).toBeUndefined();
  expect(toAgentMessage({ kind: "telemetry", seq: 1, message: { ...step, v: 2 } })).toBeUndefined();
});

test("guards never throw", () => {
  const kinds = fc.constantFrom(
    "join",
    "telemetry",
    "spawn",
    "exited",
    "toString",
    "__proto__",
    "step",
    "constructor",
  );
  const value = fc.oneof(
    fc.jsonValue(),
    kinds.chain((kind) => fc.dictionary(fc.string(), fc.jsonValue()).map((rest) => ({ ...rest, kind }))),
  );
  fc.assert(
    fc.property(value, (any) => {
      for (const guard of [toAgentMessage, toControllerMessage, toZygoteMessage, toWorkerMessage]) guard(any);
    }),
  );
});

test("arrays go and come back", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { maxLength: 12 }), (values) => {
      expect(decodeArray(encodeArray("int32", [values.length], values))).toEqual({
        shape: [values.length],
        values,
      });
    }),
  );
  expect(decodeArray({ dtype: "int32", shape: [3], b64: "AAAA" })).toBeUndefined();
});
