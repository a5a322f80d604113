import fc from "fast-check";
import { expect, test } from "vitest";
import { Random, unwrap } from "../base/index.ts";
import { groupByCoactivation } from "./coactivation.ts";
import { chooseHomes } from "./homes.ts";
import {
  busiestNode,
  homesInTurn,
  homesOfTokens,
  loadsByNode,
  type NodeGroups,
  plainGroups,
  remoteFrom,
} from "./node-groups.ts";
import { planNodes } from "./node-plan.ts";
import { NodeRefiner } from "./node-refiner.ts";
import { makeUpTrace } from "./synthetic.ts";
import { distinctNodes, makeTrace, nodeMaxOverMean, type Trace, traceLoads } from "./trace.ts";

const LENGTH = 10;

/** Samples of two kinds: each draws its experts from one half of the ids, four times of five. */
function twoKinds(samples: number, experts: number, k: number, seed: number): Trace {
  const random = new Random(seed);
  const ids = random.shuffle(Array.from({ length: experts }, (_, e) => e));
  const chosen = Array.from({ length: samples * LENGTH }, (_, t) => {
    const kind = Math.floor(t / LENGTH) % 2;
    const own = new Set<number>();
    while (own.size < k) {
      const half = random.next() < 0.8 ? kind : 1 - kind;
      own.add(ids[half * (experts / 2) + random.int(0, experts / 2 - 1)] as number);
    }
    return [...own];
  }).flat();
  return unwrap(makeTrace(experts, k, chosen));
}

/** The slow twins: token by token, as the words say. */
const slowVisits = (trace: Trace, groups: NodeGroups, home: Int32Array): number => {
  let sum = 0;
  for (let t = 0; t < trace.tokens; t++) {
    const own = home[t] as number;
    const served = Array.from(trace.chosen.subarray(t * trace.k, (t + 1) * trace.k), (e) => {
      const places = [...Array(groups.nodes).keys()].filter(
        (x) => groups.nodeOf[e] === x || groups.local[x * trace.experts + e] === 1,
      );
      return places.includes(own) ? own : (places[t % places.length] as number);
    });
    sum += new Set(served.filter((node) => node !== own)).size;
  }
  return sum / trace.tokens;
};

const everyHalf = (experts: number): Int32Array[] =>
  Array.from({ length: 2 ** experts }, (_, code) =>
    Int32Array.from({ length: experts }, (_, e) => (code >> e) & 1),
  ).filter((nodeOf) => nodeOf.reduce((sum, node) => sum + node, 0) === experts / 2);

test("two nodes, eight experts: within 3 % of the best equal parting that keeps the load limit, most often it (all are tried)", () => {
  const gaps: number[] = [];
  for (let seed = 1; seed <= 40; seed++) {
    const made = makeUpTrace({ experts: 8, k: 3, tokens: 120, blocks: 2, cohesion: 0.5, cv: 0.4, seed });
    const trace = unwrap(makeTrace(8, 3, made.chosen));
    const loads = traceLoads(trace);
    const allowed = everyHalf(8).filter((nodeOf) => nodeMaxOverMean(loads, nodeOf, 2) <= 1.05);
    if (allowed.length === 0) continue;
    const best = Math.min(...allowed.map((nodeOf) => distinctNodes(trace, nodeOf)));
    const found = groupByCoactivation(trace, 2, { mostLoad: 1.05, kicks: 12 });
    expect(nodeMaxOverMean(loads, found, 2)).toBeLessThanOrEqual(1.05 + 1e-9);
    gaps.push(distinctNodes(trace, found) / best);
  }
  expect(gaps.length).toBeGreaterThan(30);
  expect(Math.max(...gaps)).toBeLessThanOrEqual(1.03);
  expect(gaps.filter((gap) => gap <= 1 + 1e-9).length).toBeGreaterThan(0.9 * gaps.length);
});

test("gains kept while experts move are those of counting anew, also with visits and ids that do not count", () => {
  fc.assert(
    fc.property(fc.integer(), fc.constantFrom(2, 4), fc.boolean(), (seed, nodes, around) => {
      const random = new Random(seed);
      const made = twoKinds(12, 16, 4, seed);
      const trace = around
        ? { ...made, chosen: made.chosen.map((e) => (random.next() < 0.2 ? -1 : e)) }
        : made;
      const visited = Uint8Array.from({ length: trace.tokens * nodes }, () => (random.next() < 0.2 ? 1 : 0));
      const given = around ? { visited, fixed: new Float64Array(nodes).fill(9) } : {};
      const kept = Int32Array.from(random.shuffle(Array.from({ length: 16 }, (_, e) => e % nodes)));
      const anew = kept.slice();
      const refiner = new NodeRefiner(trace, nodes, kept, 1.05, given);
      for (let pass = 0; pass < 4; pass++) {
        const fresh = new NodeRefiner(trace, nodes, anew, 1.05, given);
        expect(refiner.pass(pass)).toBe(fresh.pass(pass));
        expect(kept).toEqual(anew);
        expect(refiner.cost()).toBeCloseTo(new NodeRefiner(trace, nodes, anew, 1.05, given).cost(), 6);
      }
    }),
    { numRuns: 60 },
  );
});

test("visits, loads and copies are those of counting token by token", () => {
  fc.assert(
    fc.property(
      fc.integer(),
      fc.constantFrom(2, 4),
      fc.integer({ min: 0, max: 2 }),
      fc.boolean(),
      (seed, nodes, spare, homes) => {
        const traces = [twoKinds(16, 16, 3, seed), twoKinds(16, 16, 3, seed + 1)];
        const plan = planNodes(traces, nodes, { length: LENGTH, spare, homes, batch: 8, kicks: 2 });
        expect(planNodes(traces, nodes, { length: LENGTH, spare, homes, batch: 8, kicks: 2 })).toEqual(plan);
        // Every batch of 8 samples is dealt to the nodes in equal parts.
        for (const batch of [plan.homes.subarray(0, 8), plan.homes.subarray(8)]) {
          for (let node = 0; node < nodes; node++)
            expect(batch.filter((home) => home === node).length).toBe(8 / nodes);
        }
        plan.groups.forEach((groups, l) => {
          const trace = traces[l] as Trace;
          const home = homesOfTokens(trace, plan.homes, LENGTH);
          for (let node = 0; node < nodes; node++) {
            expect(groups.nodeOf.filter((at) => at === node).length).toBe(16 / nodes);
            const copies = groups.local.subarray(node * 16, node * 16 + 16);
            expect(copies.reduce((sum, one) => sum + one, 0)).toBe(spare);
            for (let e = 0; e < 16; e++) if (copies[e]) expect(groups.nodeOf[e]).not.toBe(node);
          }
          expect(remoteFrom(trace, groups, home)).toBeCloseTo(slowVisits(trace, groups, home), 9);
          const loads = loadsByNode(trace, groups, home);
          expect(loads.reduce((sum, load) => sum + load, 0)).toBe(trace.chosen.length);
          const most = Math.max(
            ...Array.from({ length: nodes }, (_, x) =>
              loads.subarray(x * 16, x * 16 + 16).reduce((sum, load) => sum + load, 0),
            ),
          );
          expect(busiestNode(trace, groups, home)).toBeCloseTo((most * nodes) / trace.chosen.length, 9);
        });
      },
    ),
    { numRuns: 25 },
  );
});

test("no other equal dealing of a batch's samples visits fewer nodes (all are tried)", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const trace = twoKinds(6, 8, 2, seed);
    const nodeOf = Int32Array.from({ length: 8 }, (_, e) => e % 2);
    const groups: NodeGroups = { ...plainGroups(nodeOf, 2), local: new Uint8Array(16) };
    groups.local[1] = 1;
    const visits = (homes: Int32Array) => remoteFrom(trace, groups, homesOfTokens(trace, homes, LENGTH));
    const best = Math.min(...everyHalf(6).map(visits));
    expect(visits(chooseHomes([{ trace, groups }], LENGTH, 6, Number.POSITIVE_INFINITY))).toBeCloseTo(
      best,
      9,
    );
  }
});

test("homes level the load that copies move: never above what the fewest visits give, and a quarter of the excess is left at most", () => {
  let left = 0;
  let before = 0;
  for (let seed = 1; seed <= 20; seed++) {
    const trace = twoKinds(64, 16, 4, seed);
    const groups = planNodes([trace], 4, { length: LENGTH, spare: 2, kicks: 2 }).groups[0] as NodeGroups;
    const busiest = (most: number) =>
      busiestNode(
        trace,
        groups,
        homesOfTokens(trace, chooseHomes([{ trace, groups }], LENGTH, 64, most), LENGTH),
      );
    const [level, free] = [busiest(1.03), busiest(Number.POSITIVE_INFINITY)];
    expect(level).toBeLessThanOrEqual(Math.max(1.03, free) + 1e-9);
    left += Math.max(0, level - 1.03);
    before += Math.max(0, free - 1.03);
  }
  expect(before).toBeGreaterThan(0.1);
  expect(left).toBeLessThan(before / 4);
});

test("where samples differ in kind, homes and copies spare visits on samples that were not seen", () => {
  const all = twoKinds(240, 32, 4, 7);
  const part = (from: number, to: number): Trace => ({
    ...all,
    tokens: (to - from) * LENGTH,
    chosen: all.chosen.subarray(from * LENGTH * 4, to * LENGTH * 4),
  });
  const [seen, unseen] = [part(0, 160), part(160, 240)];
  const turn = homesOfTokens(unseen, homesInTurn(80, 4), LENGTH);
  const grouped = planNodes([seen], 4, { length: LENGTH, homes: false }).groups[0] as NodeGroups;
  const { groups } = planNodes([seen], 4, { length: LENGTH, spare: 2 });
  const chosen = chooseHomes([{ trace: unseen, groups: groups[0] as NodeGroups }], LENGTH, 40);
  const both = remoteFrom(unseen, groups[0] as NodeGroups, homesOfTokens(unseen, chosen, LENGTH));
  const inOrder = plainGroups(
    Int32Array.from({ length: 32 }, (_, e) => Math.floor(e / 8)),
    4,
  );
  expect(remoteFrom(unseen, grouped, turn)).toBeLessThan(0.95 * remoteFrom(unseen, inOrder, turn));
  expect(both).toBeLessThan(0.8 * remoteFrom(unseen, inOrder, turn));
});
