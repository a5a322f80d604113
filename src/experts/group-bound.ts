import { binsOf, nodeBins } from "./bins.ts";
import { type Bound, BoundFinder } from "./bound.ts";
import { expertOf, type GroupBound, groupLoads } from "./groups.ts";
import { pairBound } from "./pair-bound.ts";
import type { Shape } from "./shape.ts";

/** Ways to deal groups to nodes that are tried one by one; above it a relaxation bounds and a search assigns. */
const MOST_DEALS = 500;

/**
 * Bound where every group lives whole on one node. The loads of a set of groups on a node are one packing problem, whose own bound
 * holds; the layer's bound is the least, over all ways to deal the groups out, of the worst node. With two groups a node, or few sets, this
 * is exact (by matching, or every deal is tried, with the bounds of the sets kept); else it is relaxed: nodes as bins and groups as items.
 */
export function groupBound(shape: Shape, loads: Float64Array): GroupBound {
  const perNode = shape.groups / shape.nodes;
  let deals = shape.even ? 1 : Number.POSITIVE_INFINITY;
  // The first free group picks its companions among the free ones, node after node.
  for (let free = shape.groups; free > perNode; free -= perNode) deals *= choose(free - 1, perNode - 1);
  const mean = total(loads) / shape.speed.reduce((sum, v) => sum + v, 0);
  if (mean === 0) return { bound: { time: 0, ratio: 1, kind: "mean", wall: [] }, assignment: undefined };
  if (shape.even && perNode === 2) return pairBound(shape, loads, mean);
  if (deals <= MOST_DEALS && shape.groups <= 30) return exactDeal(shape, loads, mean);
  return { bound: relaxed(shape, loads, mean), assignment: undefined };
}

function exactDeal(shape: Shape, loads: Float64Array, mean: number): GroupBound {
  const perNode = shape.groups / shape.nodes;
  const finder = new BoundFinder(
    binsOf(shape, 0, shape.ranks / shape.nodes, (shape.experts / shape.groups) * perNode),
  );
  const known = new Map<number, Bound>();
  const boundOf = (mask: number, groups: readonly number[]): Bound => {
    let bound = known.get(mask);
    if (!bound) {
      bound = finder.find(groupLoads(shape, loads, groups), mean);
      known.set(mask, bound);
    }
    return bound;
  };
  let bestTime = Number.POSITIVE_INFINITY;
  let best: number[][] = [];
  let worst: readonly number[] = [];
  // Depth first: the first free group picks its companions, so that nodes, which are alike, are not tried in every order.
  const deal = (used: number, sets: number[][], time: number, wall: readonly number[]): void => {
    if (time >= bestTime) return;
    if (sets.length === shape.nodes) {
      bestTime = time;
      best = sets.map((set) => [...set]);
      worst = wall;
      return;
    }
    let first = 0;
    while ((used >> first) & 1) first++;
    const grow = (set: number[], mask: number, from: number): void => {
      if (set.length === perNode) {
        const bound = boundOf(mask, set);
        const here = bound.time > time ? bound.wall.map((i) => expertOf(shape, set, i)) : wall;
        deal(used | mask, [...sets, set], Math.max(time, bound.time), here);
        return;
      }
      for (let g = from; g < shape.groups; g++) {
        if (!((used >> g) & 1)) grow([...set, g], mask | (1 << g), g + 1);
      }
    };
    grow([first], 1 << first, first + 1);
  };
  deal(0, [], 0, []);
  return {
    bound: { time: bestTime, ratio: bestTime / mean, kind: "topology", wall: worst },
    assignment: best,
  };
}

/** Nodes as bins, groups as items (mean, pigeonhole), each divided by the speed of a node; and the shape without the rule. */
function relaxed(shape: Shape, loads: Float64Array, mean: number): Bound {
  const size = shape.experts / shape.groups;
  const sums = new Float64Array(shape.groups);
  for (let e = 0; e < shape.experts; e++) {
    const g = Math.floor(e / size);
    sums[g] = (sums[g] as number) + (loads[e] as number);
  }
  const nodes = new BoundFinder(nodeBins(shape)).find(sums);
  const free = new BoundFinder(binsOf(shape, 0, shape.ranks, shape.experts)).find(loads);
  return free.time >= nodes.time
    ? free
    : { time: nodes.time, ratio: nodes.time / mean, kind: "topology", wall: [] };
}

const total = (values: Float64Array): number => values.reduce((sum, value) => sum + value, 0);

function choose(n: number, k: number): number {
  let ways = 1;
  for (let i = 1; i <= k; i++) ways = (ways * (n - k + i)) / i;
  return ways;
}
