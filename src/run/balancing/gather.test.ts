import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeArray, type KnownMessage } from "../wire/index.ts";
import { rowsOfRanks } from "./costs.ts";
import { Gather } from "./gather.ts";
import { TOPOLOGY } from "./testing/world.ts";
import type { WholeStep } from "./types.ts";

/** Two pipeline stages of two ranks: layer 0 on the first, layer 1 on the second; four experts. */
const topology = { ...TOPOLOGY, world: 4, pp: 2 };
const LAST = 6;
const MOVED_AFTER = 3;

const say = (kind: string, rank: number, step: number, fields: object) =>
  ({ v: 1, kind, run: "r", rank, step, t: step, attempt: 1, ...fields }) as KnownMessage;

/** Words of each rank in its own order; a move of both layers lies between steps 3 and 4. */
function wordsOf(rank: number): KnownMessage[] {
  const first = rank % 2 === 0;
  const layer = rank < 2 ? 0 : 1;
  const words: KnownMessage[] = [];
  const place = (step: number, slots: number[]) => {
    if (first) words.push(say("placement", rank, step, { layers: { [layer]: slots } }));
  };
  place(0, [0, 1, 2, 3]);
  for (let step = 1; step <= LAST; step++) {
    if (step === MOVED_AFTER + 1) place(MOVED_AFTER, [3, 1, 2, 0]);
    const spans = { forwardBackward: 2, allToAll: 0.5 };
    words.push(
      say("step", rank, step, {
        loss: 1,
        gradNorm: 1,
        learningRate: 1,
        tokens: 1,
        seconds: 2,
        cursor: step,
        spans,
      }),
    );
    if (first) {
      const counts = encodeArray("int32", [1, 4], [step, 10, 20, 30 + layer]);
      words.push(say("load", rank, step, { layers: [layer], counts }));
    }
  }
  return words;
}

/** All words in an order that keeps each rank's own; ranks are at most one step apart, as the collectives keep them. */
const interleaved = fc.array(fc.nat(3), { minLength: 200, maxLength: 200 }).map((turns) => {
  const queues = [0, 1, 2, 3].map(wordsOf);
  const at = [0, 0, 0, 0];
  const out: KnownMessage[] = [];
  for (const rank of [...turns, ...turns, 0, 1, 2, 3].concat(Array.from({ length: 80 }, (_, i) => i % 4))) {
    const next = queues[rank]?.[0];
    if (!next || next.step > Math.min(...at) + 1) continue;
    queues[rank]?.shift();
    out.push(next);
    at[rank] = Math.max(at[rank] as number, next.step);
  }
  return out;
});

test("steps come whole, once, in order, each with the places it was trained under", () => {
  fc.assert(
    fc.property(interleaved, (words) => {
      const gather = new Gather(topology);
      const steps = words.flatMap((word) => gather.add(word, word.t) ?? []);
      expect(steps.map((one) => one.step)).toEqual([1, 2, 3, 4, 5, 6]);
      for (const one of steps) {
        const slots = one.step <= MOVED_AFTER ? [0, 1, 2, 3] : [3, 1, 2, 0];
        expect(Array.from(one.placement.slots)).toEqual([...slots, ...slots]);
        expect(Array.from(one.loads.values)).toEqual([one.step, 10, 20, 30, one.step, 10, 20, 31]);
        expect(one.stageOf).toEqual([0, 1]);
        expect(Array.from(one.busy)).toEqual([1.5, 1.5, 1.5, 1.5]);
        const low = one.step <= MOVED_AFTER ? one.step + 10 : 40;
        const high = one.step <= MOVED_AFTER ? 50 : one.step + 20;
        const more = one.step <= MOVED_AFTER ? [0, 1] : [1, 0];
        expect(Array.from(rowsOfRanks(one, topology))).toEqual([
          low,
          high,
          low + (more[0] as number),
          high + (more[1] as number),
        ]);
      }
      expect(steps.every((one) => one.links === null)).toBe(true);
      // While nothing moves the placement is one object.
      expect(new Set(steps.map((one) => one.placement)).size).toBe(2);
    }),
    { numRuns: 100 },
  );
});

test("a dropped message costs its number, a dropped load its step", () => {
  const gather = new Gather(topology);
  const words = [0, 1, 2, 3].map(wordsOf);
  const order = Array.from({ length: 20 }, (_, i) => words.flatMap((list) => list[i] ?? [])).flat();
  const steps: WholeStep[] = [];
  for (const word of order.toSorted((a, b) => a.step - b.step)) {
    if (word.kind === "step" && word.rank === 3 && word.step === 1) continue;
    if (word.kind === "load" && word.rank === 2 && word.step === 2) continue;
    const whole = gather.add(word, word.t);
    if (whole) steps.push(whole);
  }
  const seen = steps.map((one) => one.step);
  expect(seen).not.toContain(2);
  expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
  expect(seen.at(-1)).toBe(LAST);
  for (const one of steps) expect(Number.isNaN(one.busy[3])).toBe(one.step === 1);
});

test("a rank that is never heard does not stop the others' steps", () => {
  const gather = new Gather(topology);
  const words = [0, 1, 2].flatMap(wordsOf).toSorted((a, b) => a.step - b.step);
  const steps = words.flatMap((word) => gather.add(word, word.t) ?? []);
  expect(steps.length).toBeGreaterThanOrEqual(2);
  for (const one of steps) expect(one.busy[3]).toBeNaN();
});

test("words that are no step are not heard", () => {
  const gather = new Gather(topology);
  for (const word of [...wordsOf(0), ...wordsOf(1)]) expect(gather.add(word, 0)).toBeUndefined();
  const counts = { dtype: "int32", shape: [2, 4], b64: "AAAA" };
  expect(gather.add(say("load", 2, 9, { layers: [1], counts }), 0)).toBeUndefined();
});

test("of a step that timed links one by one, the means over the ranks that told are kept", () => {
  const gather = new Gather({ ...topology, world: 2, pp: 1 });
  const step = (rank: number, seconds: number, fields: object) =>
    say("step", rank, 1, { ...wordsOf(rank)[1], kind: "step", rank, step: 1, seconds, ...fields });
  gather.add(say("placement", 0, 0, { layers: { 0: [0, 1, 2, 3] } }), 0);
  gather.add(say("load", 0, 1, { layers: [0], counts: encodeArray("int32", [1, 4], [1, 2, 3, 4]) }), 0);
  const spans = (network: number) => ({
    allToAll: 1,
    "allToAll.rank": 0.125,
    "allToAll.node": 0.25,
    "allToAll.network": network,
  });
  gather.add(step(0, 2, { spans: spans(0.25), linkBytes: [10, 20, 40] }), 0);
  expect(gather.add(step(1, 2, { spans: spans(0.5), linkBytes: [30, 20, 80] }), 0)?.links).toEqual({
    step: 1,
    allToAllSeconds: 1,
    seconds: { rank: 0.125, node: 0.25, network: 0.375 },
    bytes: { rank: 20, node: 20, network: 60 },
  });
});
