import { binsOf } from "./bins.ts";
import { BoundFinder } from "./bound.ts";
import { expertOf, type GroupBound, groupLoads } from "./groups.ts";
import { perfectMatching } from "./matching.ts";
import type { Shape } from "./shape.ts";

/** Two groups on one node; `time` is proven of their slowest rank: their mean at first, their own bound once `known`. */
type Pair = {
  readonly groups: readonly [number, number];
  time: number;
  known: boolean;
  wall: readonly number[];
};

/**
 * Bound where each node, all alike, takes two groups: the least, over all ways to pair the groups, of the slowest pair's bound, which is a
 * perfect matching whose heaviest edge is lightest. It starts from the pairs' means; only pairs that such a matching uses get their own
 * bound, and the matching is sought anew until it uses none that is found to be slower.
 */
export function pairBound(shape: Shape, loads: Float64Array, mean: number): GroupBound {
  const { groups } = shape;
  const bins = binsOf(shape, 0, shape.ranks / shape.nodes, (2 * shape.experts) / groups);
  const finder = new BoundFinder(bins);
  const sums = Array.from({ length: groups }, (_, g) =>
    groupLoads(shape, loads, [g]).reduce((sum, w) => sum + w, 0),
  );
  // [a][b] with b < a.
  const pairs: Pair[][] = sums.map((sum, a) =>
    sums.slice(0, a).map((other, b) => ({
      groups: [b, a],
      time: (sum + other) / bins.speedSum,
      known: false,
      wall: [],
    })),
  );
  let least = 0;
  for (;;) {
    const found = lightest(pairs, least);
    least = found.time;
    let risen = false;
    for (const pair of found.deal) {
      if (pair.known) continue;
      pair.known = true;
      const bound = finder.find(groupLoads(shape, loads, pair.groups), least);
      if (bound.time < pair.time) continue;
      pair.time = bound.time;
      pair.wall = bound.wall.map((i) => expertOf(shape, pair.groups, i));
      if (bound.time > least) risen = true;
    }
    if (risen) continue;
    const slowest = found.deal.reduce((a, b) => (b.time > a.time ? b : a));
    return {
      bound: { time: least, ratio: least / mean, kind: "topology", wall: slowest.wall },
      assignment: found.deal.map((pair) => pair.groups),
    };
  }
}

/** The deal whose slowest pair is fastest, and that pair's time, which is not below `least`. */
function lightest(pairs: readonly (readonly Pair[])[], least: number): { deal: Pair[]; time: number } {
  const times = Float64Array.from(new Set(pairs.flatMap((row) => row.map(({ time }) => time)))).sort();
  const of = (a: number, b: number) => (a > b ? pairs[a]?.[b] : pairs[b]?.[a]) as Pair;
  const within = (time: number) => perfectMatching(pairs.length, (a, b) => of(a, b).time <= time);
  let low = Math.max(0, times.indexOf(least));
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (within(times[middle] as number)) high = middle;
    else low = middle + 1;
  }
  const time = times[low] as number;
  const partner = within(time);
  if (!partner) throw new RangeError(`${pairs.length} groups cannot be paired`);
  return { deal: Array.from(partner).flatMap((b, a) => (b < a ? [of(a, b)] : [])), time };
}
