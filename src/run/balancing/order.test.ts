import fc from "fast-check";
import { expect, test } from "vitest";
import { Random, unwrap } from "../../base/index.ts";
import { type Cut, rowOrder } from "./order.ts";

const asked = fc.record({
  microBatch: fc.integer({ min: 1, max: 3 }),
  dataRanks: fc.integer({ min: 1, max: 4 }),
  perStep: fc.integer({ min: 1, max: 3 }),
  steps: fc.integer({ min: 1, max: 3 }),
  from: fc.integer({ min: 0, max: 2 }),
  rest: fc.integer({ min: 0, max: 5 }),
  seed: fc.nat(),
});
const schema = "tessera.sample-order/v1";

test("samples of a micro-batch are computed at the same time, on the nodes the order says, and every row is trained once", () => {
  fc.assert(
    fc.property(asked, ({ microBatch, dataRanks, perStep, steps, from, rest, seed }) => {
      const size = microBatch * dataRanks;
      const cut: Cut = { microBatch, dataRanks, globalBatch: size * perStep };
      const firstSample = from * cut.globalBatch;
      const samples = steps * cut.globalBatch;
      const rows = firstSample + samples + rest;
      const random = new Random(seed);
      const shuffled = random.shuffle(Array.from({ length: samples }, (_, i) => firstSample + i));
      const microBatches = Array.from({ length: steps * perStep }, (_, i) =>
        shuffled.slice(i * size, (i + 1) * size),
      );
      const homes = Array.from({ length: samples }, () => random.int(0, 2));
      const text = JSON.stringify({ schema, firstSample, samples, microBatches, homes });
      const order = unwrap(rowOrder(text, "o", rows, cut));
      expect(order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: rows }, (_, i) => i));
      // As the engine reads: a global batch, cut into equal parts for the data ranks, each cut into micro-batches.
      for (const [i, batch] of microBatches.entries()) {
        const step = firstSample + Math.floor(i / perStep) * cut.globalBatch;
        const at = Array.from({ length: dataRanks }, (_, rank) => {
          const part = order.slice(
            step + rank * perStep * microBatch,
            step + (rank + 1) * perStep * microBatch,
          );
          return part.slice((i % perStep) * microBatch, ((i % perStep) + 1) * microBatch);
        }).flat();
        expect(at.toSorted()).toEqual(batch.toSorted());
        const nodes = at.map((sample) => homes[sample - firstSample] as number);
        expect(nodes).toEqual(nodes.toSorted());
      }
      const outside = order.filter((_, p) => p < firstSample || p >= firstSample + samples);
      expect(outside).toEqual(outside.toSorted((a, b) => a - b));
    }),
  );
});

test("an order that is not one of this data and layout is refused with the reason", () => {
  const cut: Cut = { microBatch: 1, dataRanks: 2, globalBatch: 4 };
  const whole = {
    schema,
    firstSample: 0,
    samples: 4,
    microBatches: [
      [3, 1],
      [0, 2],
    ],
  };
  const why = (change: object | string, rows = 8): unknown => {
    const text = typeof change === "string" ? change : JSON.stringify({ ...whole, ...change });
    const found = rowOrder(text, "o.json", rows, cut);
    return found.ok ? found.value : [found.error.code, found.error.params["why"]];
  };
  expect(why({})).toEqual([3, 0, 1, 2, 4, 5, 6, 7]);
  expect(why({ microBatches: undefined, homes: [1, 0, 0, 1] })).toEqual([1, 2, 0, 3, 4, 5, 6, 7]);
  const refused: [object | string, string, number?][] = [
    ["{", "not JSON"],
    ["null", "no sample order"],
    [{ schema: "tessera.placement/v1" }, "no sample order"],
    [{}, "the data has 3 rows", 3],
    [{ firstSample: 2 }, "whole global batches"],
    [{ samples: 3 }, "whole global batches"],
    [{ firstSample: -1 }, "the data has 8 rows"],
    [{ microBatches: [[3, 1, 0, 2]] }, "2 in each"],
    [
      {
        microBatches: [
          [3, 1],
          [0, 3],
        ],
      },
      "each once",
    ],
    [
      {
        microBatches: [
          [3, 1],
          [0, 4],
        ],
      },
      "each once",
    ],
    [
      {
        microBatches: [
          [3, 1],
          [0, 1.5],
        ],
      },
      "each once",
    ],
    [{ microBatches: 7 }, "each once"],
    [{ homes: [0, 1] }, "4 samples"],
    [{ homes: [0, 1, 0, -1] }, "4 samples"],
    [{ microBatches: undefined }, "neither"],
  ];
  for (const [change, reason, rows] of refused) {
    expect(why(change, rows)).toEqual(["RUN_ORDER", expect.stringContaining(reason)]);
  }
});
