import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Random, unwrap } from "../base/index.ts";
import { groupByCoactivation } from "./coactivation.ts";
import { hashTrace, sampleRankLoads, scanOf, windowLoads } from "./foresight.ts";
import { placeOnNodes } from "./grouped.ts";
import { homesOfTokens, loadsByNode, type NodeGroups, plainGroups } from "./node-groups.ts";
import { planNodes } from "./node-plan.ts";
import { packSamples } from "./pack-samples.ts";
import { checkPlacement, loadOfRanks, startPlacement } from "./placement.ts";
import { joinScans, readHashed, readTraces } from "./read-trace.ts";
import { makeShape } from "./shape.ts";
import { makeUpTrace } from "./synthetic.ts";
import {
  distinctNodes,
  makeTrace,
  nodeMaxOverMean,
  remoteNodes,
  sliceTrace,
  type Trace,
  traceLoads,
} from "./trace.ts";

const structured = (tokens: number, seed: number, cohesion = 0.6) => {
  const { chosen, k, experts } = makeUpTrace({
    experts: 64,
    k: 6,
    tokens,
    blocks: 8,
    cohesion,
    cv: 0.5,
    seed,
  });
  return unwrap(makeTrace(experts, k, chosen));
};

describe("co-activation", () => {
  test("held-out tokens visit at least 20 % fewer remote nodes, with the busiest node at most 1.05", () => {
    const trace = structured(12_000, 4);
    const nodeOf = groupByCoactivation(sliceTrace(trace, 0, 9000), 8);
    const held = sliceTrace(trace, 9000, 12_000);
    const inOrder = Int32Array.from({ length: 64 }, (_, e) => Math.floor(e / 8));
    expect(remoteNodes(held, nodeOf, 8)).toBeLessThanOrEqual(0.8 * remoteNodes(held, inOrder, 8));
    expect(nodeMaxOverMean(traceLoads(held), nodeOf, 8)).toBeLessThanOrEqual(1.05);
  });

  test("every node gets equally many experts, the same ones each time, and the count of visits is true", () => {
    fc.assert(
      fc.property(fc.integer(), fc.constantFrom(2, 4, 8), (seed, nodes) => {
        const trace = structured(200, seed);
        const nodeOf = groupByCoactivation(trace, nodes);
        expect(groupByCoactivation(trace, nodes)).toEqual(nodeOf);
        const sizes = new Int32Array(nodes);
        for (const node of nodeOf) sizes[node] = (sizes[node] as number) + 1;
        expect(new Set(sizes)).toEqual(new Set([64 / nodes]));
        let visits = 0;
        for (let t = 0; t < trace.tokens; t++) {
          visits += new Set(Array.from(trace.chosen.subarray(t * 6, t * 6 + 6), (e) => nodeOf[e])).size;
        }
        expect(distinctNodes(trace, nodeOf)).toBeCloseTo(visits / trace.tokens, 9);
      }),
      { numRuns: 20 },
    );
  });

  test("without structure there is little to win, and balance is kept", () => {
    const trace = structured(6000, 9, 0);
    const nodeOf = groupByCoactivation(trace, 8);
    expect(nodeMaxOverMean(traceLoads(trace), nodeOf, 8)).toBeLessThanOrEqual(1.05);
  });

  test("ranks are balanced inside the chosen nodes", () => {
    const trace = structured(6000, 2);
    const nodeOf = groupByCoactivation(trace, 4);
    const shape = unwrap(makeShape({ experts: 64, ranks: 8, slots: 72, nodes: 4 }));
    const slots = unwrap(placeOnNodes(shape, traceLoads(trace), plainGroups(nodeOf, 4)));
    unwrap(checkPlacement({ ids: [0], layers: 1, shape, slots }));
    slots.forEach((e, s) => expect(nodeOf[e]).toBe(Math.floor(s / 18)));
    const ranks = loadOfRanks(shape, slots, traceLoads(trace));
    expect(Math.max(...ranks) / (6000 * 6)).toBeLessThan(1.06 / 8);
    expect(placeOnNodes(shape, traceLoads(trace), plainGroups(nodeOf.slice().fill(0), 4)).ok).toBe(false);
    // With a copy of another node's expert on every node, and its loads by node.
    const { groups, homes } = planNodes([trace], 4, { length: 60, spare: 1, kicks: 0 });
    const group = groups[0] as NodeGroups;
    const served = loadsByNode(trace, group, homesOfTokens(trace, homes, 60));
    const across = unwrap(placeOnNodes(shape, served, group));
    unwrap(checkPlacement({ ids: [0], layers: 1, shape, slots: across }));
    across.forEach((e, s) => {
      const node = Math.floor(s / 18);
      expect(group.nodeOf[e] === node || group.local[node * 64 + e] === 1).toBe(true);
    });
    for (let i = 0; i < 256; i++) {
      const here = across.subarray(Math.floor(i / 64) * 18, Math.floor(i / 64) * 18 + 18);
      if (group.local[i]) expect(here.includes(i % 64)).toBe(true);
    }
  });

  test("bad traces are coded errors", () => {
    for (const [k, ids] of [
      [2, []],
      [2, [0, 1, 2]],
      [2, [0, 0]],
      [2, [0, 64]],
      [0, [1]],
      [65, [1]],
      [1, [0.5]],
    ] as const) {
      const made = makeTrace(64, k, ids);
      expect(made.ok ? "ok" : made.error.code).toBe("EXPERTS_TRACE");
    }
  });
});

describe("foresight", () => {
  test("hash-routed choices are those of looking up token by token, and so are the samples' counts", () => {
    const random = new Random(1);
    const rows = Array.from({ length: 100 }, () =>
      random.shuffle(Array.from({ length: 16 }, (_, e) => e)).slice(0, 2),
    );
    const hash = { experts: 16, k: 2, table: Int32Array.from(rows.flat()) };
    const ids = Array.from({ length: 500 }, () => random.int(0, 99));
    const trace = unwrap(hashTrace(ids, hash));
    const loads = traceLoads(trace);
    const scan = scanOf([3], [trace], 50);
    for (let e = 0; e < 16; e++) {
      expect(loads[e]).toBe(ids.filter((id) => (rows[id] as number[]).includes(e)).length);
      expect(scan.counts[7 * 16 + e]).toBe(
        ids.slice(350, 400).filter((id) => (rows[id] as number[]).includes(e)).length,
      );
    }
    expect(unwrap(windowLoads(scan, [...Array(10).keys()])).values).toEqual(loads);
    expect(hashTrace([100], hash).ok).toBe(false);
    expect(hashTrace([1], { ...hash, experts: 1 }).ok).toBe(false);
  });

  test("traces and token files read as documented; bad ones are coded, with their line", () => {
    const line = (layer: number, chosen: number[], more = {}) =>
      JSON.stringify({ layer, experts: 4, k: 2, length: 2, chosen, ...more });
    const good = unwrap(readTraces(`${line(5, [0, 1, 2, 3])}\n${line(3, [1, 0, 1, 2])}\n`));
    expect([good.ids, good.length, good.traces.map((t) => [...t.chosen])]).toEqual([
      [3, 5],
      2,
      [
        [1, 0, 1, 2],
        [0, 1, 2, 3],
      ],
    ]);
    const cases: [string, number | undefined][] = [
      ["", undefined],
      ["{", 1],
      [`${line(0, [0, 1])}\n${line(0, [0, 1], { length: 1 })}`, 1],
      [line(0, [0, 1, 2]), 1],
      [line(0, [0, 4]), 1],
      [line(-1, [0, 1]), 1],
      [line(0, [0, 1], { experts: 0 }), 1],
      [line(0, [0, 1], { chosen: 3 }), 1],
      [`${line(0, [0, 1, 1, 2])}\n\n${line(1, [0, 1], { length: 1 })}`, 3],
      [`${line(0, [0, 1, 1, 2])}\n${line(1, [0, 1, 1, 2], { experts: 8 })}`, 2],
      [line(0, [0, 1, 1, 2], { length: 3 }), 1],
      [`${line(0, [0, 1, 1, 2])}\n${line(0, [0, 1, 1, 2])}`, 2],
    ];
    for (const [text, at] of cases) {
      const read = readTraces(text, "t.ndjson");
      expect([text, read.ok ? "ok" : read.error.code, read.ok ? 0 : read.error.place?.line]).toEqual([
        text,
        "EXPERTS_TRACE",
        at,
      ]);
    }
    const table = '{"experts":4,"layers":{"0":[[0,1],[2,3]]}}';
    const hashed = unwrap(readHashed(table, "[0,1]\n[1,1]\n"));
    expect([hashed.ids, hashed.length, [...(hashed.traces[0] as Trace).chosen]]).toEqual([
      [0],
      2,
      [0, 1, 2, 3, 2, 3, 2, 3],
    ]);
    expect(unwrap(joinScans(good, unwrap(readHashed(table, "[0,1]")))).ids).toEqual([0, 3, 5]);
    for (const [t, tokens] of [
      [table, ""],
      [table, "[0]\n[0,1]"],
      [table, "[2]"],
      [table, "[-1]"],
      [table, "7"],
      ["[]", "[0]"],
      ['{"experts":4,"layers":{}}', "[0]"],
      ['{"experts":4,"layers":{"x":[[0]]}}', "[0]"],
      ['{"experts":4,"layers":{"0":[[0],[1,2]]}}', "[0]"],
      ['{"experts":4,"layers":{"0":[[4]]}}', "[0]"],
    ] as const) {
      const read = readHashed(t, tokens);
      expect([t, tokens, read.ok ? "ok" : read.error.code]).toEqual([t, tokens, "EXPERTS_TRACE"]);
    }
    for (const other of [
      readHashed(table, "[0]"),
      readHashed('{"experts":3,"layers":{"0":[[0]]}}', "[0,0]"),
      readTraces(line(3, [0, 1, 1, 2])),
    ])
      expect(joinScans(good, unwrap(other)).ok).toBe(false);
  });

  test("packing exchanges samples only, never makes it worse, and helps where samples differ", () => {
    const random = new Random(3);
    const shape = unwrap(makeShape({ experts: 16, ranks: 4 }));
    const start = startPlacement([0, 1], shape);
    const samples = 32;
    const counts = Int32Array.from({ length: samples * 2 * 16 }, (_, i) =>
      Math.floor(i / 32) % 2 === Math.floor((i % 16) / 8) ? random.int(20, 40) : random.int(0, 5),
    );
    const scan = { samples, ids: [0, 1], experts: 16, counts };
    const rows = sampleRankLoads(scan, shape, [start.slots.subarray(0, 16), start.slots.subarray(16)]);
    // In order by kind, as a sorted data set gives them: each micro-batch then loads half of the ranks.
    const byKind = [...rows.filter((_, n) => n % 2 === 0), ...rows.filter((_, n) => n % 2 === 1)];
    const packed = packSamples(byKind, 4, 4);
    expect(packed.batches.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: samples }, (_, n) => n));
    expect(packed.after).toBeLessThan(0.75 * packed.before);
    const all = unwrap(windowLoads(scan, [0, 1, 2]));
    expect(all.values[0]).toBe((counts[0] as number) + (counts[32] as number) + (counts[64] as number));
    expect(windowLoads(scan, [32]).ok).toBe(false);
  });

  test("any packing is a permutation in equal parts and not slower", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer(),
        (m, size, seed) => {
          const random = new Random(seed);
          const rows = Array.from({ length: m * size }, () =>
            Float64Array.from({ length: 6 }, () => random.int(0, 9)),
          );
          const { batches, before, after } = packSamples(rows, 3, m);
          expect(batches.map((batch) => batch.length)).toEqual(Array.from({ length: m }, () => size));
          expect(batches.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: m * size }, (_, n) => n));
          expect(after).toBeLessThanOrEqual(before);
          const cost = (order: readonly (readonly number[])[]) =>
            order.reduce((all, batch) => {
              const sum = (i: number) =>
                batch.reduce((s, n) => s + ((rows[n] as Float64Array)[i] as number), 0);
              return all + Math.max(sum(0), sum(1), sum(2)) + Math.max(sum(3), sum(4), sum(5));
            }, 0);
          expect(after).toBeCloseTo(cost(batches), 6);
        },
      ),
    );
  });
});
