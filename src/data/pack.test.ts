import fc from "fast-check";
import { expect, test } from "vitest";
import { bestFit, type Encoded, NO_LOSS, packSamples } from "./pack.ts";

const LENGTH = 16;
const samples: fc.Arbitrary<Encoded[]> = fc
  .array(fc.tuple(fc.array(fc.integer({ min: 5, max: 99 }), { minLength: 1, maxLength: 20 }), fc.nat()), {
    maxLength: 40,
  })
  .map((rows) => rows.map(([tokens, from], i) => ({ id: `s${i}`, tokens, learnFrom: from % tokens.length })));

/** The obvious best fit: look at every row for the one that is left with least room. */
function slowBestFit(lengths: readonly number[], length: number): number[][] {
  const rows: { members: number[]; room: number }[] = [];
  const order = lengths
    .map((_each, i) => i)
    .sort((a, b) => (lengths[b] as number) - (lengths[a] as number) || a - b);
  for (const index of order) {
    const size = lengths[index] as number;
    if (size > length || size === 0) continue;
    const fitting = rows.filter(({ room }) => room >= size).sort((a, b) => a.room - b.room)[0];
    if (fitting) {
      fitting.members.push(index);
      fitting.room -= size;
    } else {
      rows.push({ members: [index], room: length - size });
    }
  }
  return rows.map(({ members }) => members);
}

const fill = (rows: readonly number[][], lengths: readonly number[]) =>
  rows.map((row) => row.reduce((sum, i) => sum + (lengths[i] as number), 0)).sort((a, b) => a - b);

test("needs as many rows as the slow best fit, equally full", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 60 }), (lengths) => {
      expect(fill(bestFit(lengths, LENGTH), lengths)).toEqual(fill(slowBestFit(lengths, LENGTH), lengths));
    }),
  );
});

test("tokens are conserved: in = packed + left out", () => {
  fc.assert(
    fc.property(samples, fc.nat(), (all, seed) => {
      const packed = packSamples(all, { length: LENGTH, padId: 0, seed });
      const total = all.reduce((sum, { tokens }) => sum + tokens.length, 0);
      const out = all
        .filter(({ id }) => packed.leftOut.includes(id))
        .reduce((sum, { tokens }) => sum + tokens.length, 0);
      expect(packed.tokens + out).toBe(total);
      expect(packed.segments.filter((each) => each > 0).length).toBe(packed.tokens);
      expect(packed.labels.filter((each) => each !== NO_LOSS).length).toBe(packed.learned);
      expect([...packed.members.flat(), ...packed.leftOut].sort()).toEqual(all.map(({ id }) => id).sort());
    }),
  );
});

test("every sample stands whole in its row, with the loss on its answer only", () => {
  fc.assert(
    fc.property(samples, fc.nat(), (all, seed) => {
      const packed = packSamples(all, { length: LENGTH, padId: 0, seed });
      const byId = new Map(all.map((sample) => [sample.id, sample]));
      packed.members.forEach((ids, row) => {
        ids.forEach((id, place) => {
          const sample = byId.get(id) as Encoded;
          const at = Array.from({ length: LENGTH }, (_each, i) => row * LENGTH + i).filter(
            (i) => packed.segments[i] === place + 1,
          );
          expect(at.map((i) => packed.inputIds[i])).toEqual(sample.tokens);
          expect(at.map((i) => packed.labels[i])).toEqual(
            sample.tokens.map((token, i) => (i < sample.learnFrom ? NO_LOSS : token)),
          );
          expect((at.at(-1) as number) - (at[0] as number)).toBe(sample.tokens.length - 1);
        });
      });
    }),
  );
});

test("equal seeds give equal rows, another seed another order", () => {
  const all = Array.from({ length: 30 }, (_each, i) => ({
    id: `s${i}`,
    tokens: [9, 9, 9, 9, 9, i + 10],
    learnFrom: 2,
  }));
  const one = packSamples(all, { length: LENGTH, padId: 0, seed: 1 });
  expect(packSamples(all, { length: LENGTH, padId: 0, seed: 1 })).toEqual(one);
  expect(packSamples(all, { length: LENGTH, padId: 0, seed: 2 }).members).not.toEqual(one.members);
});
