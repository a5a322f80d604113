import fc from "fast-check";
import { expect, test } from "vitest";
import { Random, unwrap } from "../base/index.ts";
import { binsOf } from "./bins.ts";
import { Packer } from "./pack.ts";
import { makeShape } from "./shape.ts";

/** The slow twin: every item, heaviest first, onto the lightest rank with room that has no copy yet, the first of equals. */
function lightestRank(
  ranks: number,
  each: number,
  items: readonly number[],
  share: Float64Array,
): number[][] | undefined {
  const held: number[][] = Array.from({ length: ranks }, () => []);
  const load = new Float64Array(ranks);
  for (const e of items) {
    let best = -1;
    for (let r = 0; r < ranks; r++) {
      const on = held[r] as number[];
      if (on.length >= each || on.includes(e)) continue;
      if (best < 0 || (load[r] as number) < (load[best] as number)) best = r;
    }
    if (best < 0) return undefined;
    (held[best] as number[]).push(e);
    load[best] = (load[best] as number) + (share[e] as number);
  }
  return held;
}

test("heaviest first with a heap of ranks is the same as looking at every rank", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 6 }),
      fc.integer({ min: 2, max: 5 }),
      fc.integer(),
      (ranks, each, seed) => {
        const random = new Random(seed);
        const total = ranks * each;
        const experts = random.int(each, total);
        const bins = binsOf(unwrap(makeShape({ experts, ranks, slots: total })), 0, ranks, experts);
        const counts = new Int32Array(experts).fill(1);
        for (let spare = total - experts; spare > 0; ) {
          const e = random.int(0, experts - 1);
          if ((counts[e] as number) >= ranks) continue;
          counts[e] = (counts[e] as number) + 1;
          spare--;
        }
        const loads = Float64Array.from(counts, () => random.int(0, 9));
        const packer = new Packer(bins);
        const out = new Int32Array(total);
        const done = packer.tryCounts(loads, counts, out, true);
        const items = [...packer.order].flatMap((e) => Array.from({ length: counts[e] as number }, () => e));
        const want = lightestRank(ranks, each, items, packer.share);
        expect(done).toBe(want !== undefined);
        if (want) expect([...out]).toEqual(want.flat());
      },
    ),
    { numRuns: 300 },
  );
});
