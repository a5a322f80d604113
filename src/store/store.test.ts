import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readSeries, SeriesReader, SeriesWriter } from "./index.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tessera-store-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

type Act =
  | { readonly do: "scalar"; readonly name: string; readonly step: number; readonly value: number }
  | { readonly do: "matrix"; readonly step: number; readonly data: readonly number[] }
  | { readonly do: "flush" }
  | { readonly do: "reopen" };

const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("scalar" as const),
      name: fc.constantFrom("loss", "grad norm", "速度"),
      step: fc.nat(1000),
      value: fc.double(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("matrix" as const),
      step: fc.nat(1000),
      data: fc.array(fc.integer(), { minLength: 6, maxLength: 6 }),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ do: "flush" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "reopen" as const }) },
);

/** Performs the acts in a folder of its own and returns it. */
function perform(acts: readonly Act[], name: string, segmentBytes: number): string {
  const into = join(folder, name);
  rmSync(into, { recursive: true, force: true });
  let writer = SeriesWriter.open(into, { segmentBytes });
  for (const one of acts) {
    if (one.do === "scalar") writer.append(one.name, one.step, one.step + 0.5, one.value);
    else if (one.do === "matrix") writer.appendMatrix("load", one.step, 0, 2, 3, Int32Array.from(one.data));
    else if (one.do === "flush") writer.flush();
    else {
      writer.close();
      writer = SeriesWriter.open(into, { segmentBytes });
    }
  }
  writer.close();
  return into;
}

/** Everything a reader returns, as plain data. */
function contents(reader: SeriesReader): Record<string, [number, ...number[]][]> {
  const { scalars, matrices } = reader.names();
  const out: Record<string, [number, ...number[]][]> = {};
  for (const name of scalars) {
    const { step, value } = reader.scalar(name);
    out[name] = [...step].map((s, i) => [s, value[i] as number]);
  }
  for (const name of matrices) {
    const series = reader.matrix(name);
    out[name] = series.step.map((s, i) => [s, ...series.read(i)]);
  }
  return out;
}

function expected(acts: readonly Act[]): Record<string, [number, ...number[]][]> {
  const out: Record<string, [number, ...number[]][]> = {};
  for (const one of acts) {
    if (one.do === "scalar") (out[one.name] ??= []).push([one.step, one.value]);
    else if (one.do === "matrix") (out["load"] ??= []).push([one.step, ...one.data]);
  }
  return out;
}

describe("series segments", () => {
  test("what is written is read, whatever the order of appending, flushing, rotating and reopening", () => {
    fc.assert(
      fc.property(
        fc.array(act, { maxLength: 40 }),
        fc.constantFrom(64, 400, 1 << 20),
        (acts, segmentBytes) => {
          const into = perform(acts, "round", segmentBytes);
          expect(contents(readSeries(into))).toEqual(expected(acts));
        },
      ),
      { numRuns: 150 },
    );
  });

  test("a crash at any byte: a prefix is read, and the next writer goes on behind it", () => {
    const acts: Act[] = [
      { do: "scalar", name: "loss", step: 1, value: 3.5 },
      { do: "scalar", name: "lr", step: 1, value: 0.1 },
      { do: "flush" },
      { do: "matrix", step: 1, data: [1, 2, 3, 4, 5, 6] },
      { do: "scalar", name: "loss", step: 2, value: Number.NaN },
      { do: "flush" },
      { do: "scalar", name: "loss", step: 3, value: -0 },
    ];
    const into = perform(acts, "whole", 1 << 20);
    const whole = contents(readSeries(into));
    const bytes = readFileSync(join(into, "000001.series"));
    for (let cut = 0; cut <= bytes.length; cut++) {
      const torn = join(folder, `cut-${cut}`);
      mkdirSync(torn);
      writeFileSync(join(torn, "000001.series"), bytes.subarray(0, cut));
      const before = contents(readSeries(torn));
      for (const [name, records] of Object.entries(before)) {
        expect(records).toEqual(whole[name]?.slice(0, records.length));
      }
      const writer = SeriesWriter.open(torn);
      writer.append("loss", 9, 0, 99);
      writer.close();
      const after = contents(readSeries(torn));
      expect(after).toEqual({ ...before, loss: [...(before["loss"] ?? []), [9, 99]] });
      expect(readFileSync(join(torn, "000001.series")).subarray(0, cut)).toEqual(bytes.subarray(0, cut));
    }
  });

  test("a changed bit anywhere is never returned as a value", () => {
    const acts: Act[] = Array.from({ length: 12 }, (_, i) =>
      i % 4 === 3 ? { do: "flush" } : { do: "scalar", name: i % 2 ? "a" : "b", step: i, value: i * 1.5 },
    );
    const into = perform(acts, "whole", 1 << 20);
    const whole = contents(readSeries(into));
    const path = join(into, "000001.series");
    const bytes = readFileSync(path);
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] as number) ^ (1 << (at % 8));
      writeFileSync(path, changed);
      const reader = readSeries(into);
      for (const [name, records] of Object.entries(contents(reader))) {
        expect(records).toEqual(whole[name]?.slice(0, records.length));
      }
      expect(reader.tails()).toHaveLength(1);
    }
  });

  test("a reader follows a writer, frame by frame", () => {
    const writer = SeriesWriter.open(folder, { segmentBytes: 200 });
    const reader = new SeriesReader(folder);
    expect(reader.refresh()).toBe(0);
    for (let step = 0; step < 40; step++) {
      writer.append("loss", step, step, step * step);
      writer.flush();
      reader.refresh();
      expect(reader.scalar("loss").value.at(-1)).toBe(step * step);
    }
    writer.close();
    expect(reader.scalar("loss").step).toHaveLength(40);
    expect(readdirSync(folder).length).toBeGreaterThan(3);
    expect(reader.tails()).toEqual([]);
  });

  test("a series keeps its shape, also after rotation and a new start", () => {
    const writer = SeriesWriter.open(folder, { segmentBytes: 100 });
    writer.appendMatrix("load", 0, 0, 2, 2, new Float32Array([1, 2, 3, 4]));
    writer.flush();
    writer.append("loss", 0, 0, 1);
    writer.flush();
    writer.append("loss", 1, 0, 1);
    writer.close();
    const again = SeriesWriter.open(folder);
    for (const wrong of [
      () => again.appendMatrix("load", 1, 0, 1, 2, new Float32Array(2)),
      () => again.appendMatrix("load", 1, 0, 2, 2, new Int32Array(4)),
      () => again.append("load", 1, 0, 1),
    ]) {
      expect(wrong).toThrow(/STORE_SHAPE/);
    }
    expect(() => again.appendMatrix("load", 1, 0, 2, 2, new Float32Array(3))).toThrow(RangeError);
    again.close();
    expect([...readSeries(folder).matrix("load").read(0)]).toEqual([1, 2, 3, 4]);
  });

  test("a folder that is not there holds nothing; a name that is not there is named", () => {
    const reader = readSeries(join(folder, "nowhere"));
    expect(reader.names()).toEqual({ scalars: [], matrices: [] });
    expect(() => reader.scalar("loss")).toThrow(/STORE_NO_SERIES/);
  });
});
