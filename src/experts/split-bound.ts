import { copyCounts } from "./placement.ts";
import type { Shape } from "./shape.ts";

/**
 * Least slowest time of a given placement if the tokens of an expert may be split freely over its copies (B4): the largest, over sets of
 * ranks, of the load of experts that live only inside the set, over the set's speed. `ranks` is such a tightest set and `experts` are
 * the ones that live only there: together they are the proof.
 */
export type SplitBound = {
  readonly time: number;
  readonly ranks: readonly number[];
  readonly experts: readonly number[];
};

/**
 * Newton's method on the time: ask by maximum flow whether all tokens fit; if not, the minimum cut is a set of ranks that needs longer,
 * which gives the next time. Ends after a few exact steps.
 */
export function splitBound(shape: Shape, row: Int32Array, loads: Float64Array): SplitBound {
  const copies = copyCounts(shape.experts, row);
  const holders: number[][] = Array.from({ length: shape.experts }, () => []);
  for (let r = 0; r < shape.ranks; r++) {
    for (let s = shape.slotStart[r] as number; s < (shape.slotStart[r + 1] as number); s++) {
      (holders[row[s] as number] as number[]).push(r);
    }
  }
  const only = (set: ReadonlySet<number>) =>
    holders.flatMap((ranks, e) => (copies[e] && ranks.every((r) => set.has(r)) ? [e] : []));
  const timeOf = (set: ReadonlySet<number>) => {
    let load = 0;
    for (const e of only(set)) load += loads[e] as number;
    let speed = 0;
    for (const r of set) speed += shape.speed[r] as number;
    return load / speed;
  };
  let set: ReadonlySet<number> = new Set(Array.from({ length: shape.ranks }, (_, r) => r));
  let time = timeOf(set);
  for (;;) {
    const cut = overfull(shape, holders, loads, time);
    if (cut.size === 0) break;
    const longer = timeOf(cut);
    if (longer <= time * (1 + 1e-12)) break;
    time = longer;
    set = cut;
  }
  return { time, ranks: [...set].sort((a, b) => a - b), experts: only(set) };
}

/**
 * Sends each expert's load to its ranks, none above speed x time, rerouting along augmenting paths. Returns the ranks reachable from
 * load that finds no place (a minimum cut), or nothing if all fits.
 */
function overfull(
  shape: Shape,
  holders: readonly (readonly number[])[],
  loads: Float64Array,
  time: number,
): Set<number> {
  const flow = holders.map((ranks) => new Float64Array(ranks.length));
  const room = Float64Array.from(shape.speed, (speed) => speed * time);
  const tiny = time * 1e-12;
  const onRank: [number, number][][] = Array.from({ length: shape.ranks }, () => []);
  holders.forEach((ranks, e) => {
    ranks.forEach((r, i) => {
      (onRank[r] as [number, number][]).push([e, i]);
    });
  });
  for (let e = 0; e < holders.length; e++) {
    let left = loads[e] as number;
    while (left > tiny) {
      // Breadth first over ranks: from e's ranks, on through any expert that has load there to its other ranks.
      const via = new Map<number, { from: number; expert: number }>();
      const queue = [...(holders[e] as number[])];
      for (const r of queue) via.set(r, { from: -1, expert: e });
      let end = -1;
      for (let i = 0; i < queue.length && end < 0; i++) {
        const r = queue[i] as number;
        if ((room[r] as number) > tiny) {
          end = r;
          break;
        }
        for (const [f, slot] of onRank[r] as [number, number][]) {
          if (((flow[f] as Float64Array)[slot] as number) <= tiny) continue;
          for (const q of holders[f] as number[]) {
            if (via.has(q)) continue;
            via.set(q, { from: r, expert: f });
            queue.push(q);
          }
        }
      }
      if (end < 0) return new Set(queue);
      let amount = Math.min(left, room[end] as number);
      for (let r = end; ; ) {
        const step = via.get(r) as { from: number; expert: number };
        if (step.from < 0) break;
        const slot = (holders[step.expert] as number[]).indexOf(step.from);
        amount = Math.min(amount, (flow[step.expert] as Float64Array)[slot] as number);
        r = step.from;
      }
      const shift = (expert: number, rank: number, by: number) => {
        const row = flow[expert] as Float64Array;
        const slot = (holders[expert] as number[]).indexOf(rank);
        row[slot] = (row[slot] as number) + by;
      };
      for (let r = end; ; ) {
        const step = via.get(r) as { from: number; expert: number };
        shift(step.expert, r, amount);
        if (step.from < 0) break;
        shift(step.expert, step.from, -amount);
        r = step.from;
      }
      room[end] = (room[end] as number) - amount;
      left -= amount;
    }
  }
  return new Set();
}
