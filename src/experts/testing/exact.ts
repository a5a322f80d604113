import type { Shape } from "../shape.ts";
import { slotsOf } from "../shape.ts";

/**
 * The slow twin of the planner: the least possible slowest time of one layer, by trying every number of copies and every packing
 * (branch and bound; ranks in the same state are tried once). For a dozen experts.
 */
export function exactTime(shape: Shape, loads: Float64Array): number {
  if (!shape.hierarchical) {
    return exactFlat(
      loads,
      range(shape.ranks).map((r) => slotsOf(shape, r)),
      [...shape.speed],
    );
  }
  const perNode = shape.ranks / shape.nodes;
  const size = shape.experts / shape.groups;
  let best = Number.POSITIVE_INFINITY;
  const deal = (node: number, left: number[], time: number): void => {
    if (time >= best) return;
    if (node === shape.nodes) {
      best = time;
      return;
    }
    for (const set of subsets(left, shape.groups / shape.nodes)) {
      const part = set.flatMap((g) => [...loads.subarray(g * size, (g + 1) * size)]);
      const ranks = range(perNode).map((i) => node * perNode + i);
      const here = exactFlat(
        Float64Array.from(part),
        ranks.map((r) => slotsOf(shape, r)),
        ranks.map((r) => shape.speed[r] as number),
      );
      deal(
        node + 1,
        left.filter((g) => !set.includes(g)),
        Math.max(time, here),
      );
    }
  };
  deal(0, range(shape.groups), 0);
  return best;
}

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

function subsets(items: readonly number[], k: number): number[][] {
  if (k === 0) return [[]];
  return items.flatMap((item, i) => subsets(items.slice(i + 1), k - 1).map((rest) => [item, ...rest]));
}

function exactFlat(loads: Float64Array, slots: readonly number[], speed: readonly number[]): number {
  const order = [...loads.keys()].sort((a, b) => (loads[b] as number) - (loads[a] as number));
  const spare = slots.reduce((sum, s) => sum + s, 0) - loads.length;
  const floor = loads.reduce((sum, w) => sum + w, 0) / speed.reduce((sum, v) => sum + v, 0);
  let best = Number.POSITIVE_INFINITY;
  const room = [...slots];
  const load = slots.map(() => 0);
  const placeExpert = (i: number, left: number): void => {
    if (best <= floor * (1 + 1e-12)) return;
    const e = order[i];
    if (e === undefined) {
      if (left === 0) best = Math.min(best, Math.max(...load.map((w, r) => w / (speed[r] as number))));
      return;
    }
    const isLast = i === order.length - 1;
    for (let c = isLast ? left + 1 : 1; c <= Math.min(left + 1, slots.length); c++) {
      placeCopies(i, left - (c - 1), (loads[e] as number) / c, c, 0);
    }
  };
  const placeCopies = (i: number, left: number, share: number, copies: number, from: number): void => {
    if (copies === 0) return placeExpert(i + 1, left);
    const tried = new Set<string>();
    for (let r = from; r <= slots.length - copies; r++) {
      if ((room[r] as number) === 0) continue;
      const after = (load[r] as number) + share;
      if (after / (speed[r] as number) >= best * (1 - 1e-12)) continue;
      const state = `${room[r]}|${load[r]}|${speed[r]}`;
      if (copies === 1 && tried.has(state)) continue;
      tried.add(state);
      const held = load[r] as number;
      load[r] = after;
      room[r] = (room[r] as number) - 1;
      placeCopies(i, left, share, copies - 1, r + 1);
      load[r] = held;
      room[r] = (room[r] as number) + 1;
    }
  };
  placeExpert(0, spare);
  return best;
}
