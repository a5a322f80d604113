import { layerSlots, type Placement } from "./placement.ts";
import type { Shape } from "./shape.ts";

/** One expert's state sent from a rank that holds it to one that will: inside a node, or over the network. */
export type Move = {
  readonly layer: number;
  readonly expert: number;
  readonly from: number;
  readonly to: number;
  readonly link: "node" | "network";
};

/**
 * Transfers that turn one layer's placement into another. A rank that already holds the expert needs none; else the source is a
 * holder on the same node if there is one, among equals the one that has sent least so far.
 */
export function layerMoves(shape: Shape, layer: number, before: Int32Array, after: Int32Array): Move[] {
  const holders: number[][] = Array.from({ length: shape.experts }, () => []);
  for (let r = 0; r < shape.ranks; r++) {
    for (let s = shape.slotStart[r] as number; s < (shape.slotStart[r + 1] as number); s++) {
      (holders[before[s] as number] as number[]).push(r);
    }
  }
  const sent = new Int32Array(shape.ranks);
  const moves: Move[] = [];
  for (let to = 0; to < shape.ranks; to++) {
    for (let s = shape.slotStart[to] as number; s < (shape.slotStart[to + 1] as number); s++) {
      const expert = after[s] as number;
      const sources = holders[expert] as number[];
      if (sources.includes(to)) continue;
      let from = -1;
      let score = Number.POSITIVE_INFINITY;
      for (const r of sources) {
        const far = shape.nodeOf[r] === shape.nodeOf[to] ? 0 : 1e6;
        if (far + (sent[r] as number) < score) {
          score = far + (sent[r] as number);
          from = r;
        }
      }
      sent[from] = (sent[from] as number) + 1;
      moves.push({ layer, expert, from, to, link: score >= 1e6 ? "network" : "node" });
    }
  }
  return moves;
}

/** Transfers of all layers. Both placements have the same shape and layers. */
export function placementMoves(before: Placement, after: Placement): Move[] {
  return before.ids.flatMap((layer, l) =>
    layerMoves(before.shape, layer, layerSlots(before, l), layerSlots(after, l)),
  );
}

/** Puts experts that stay on their rank back into the slots they had, so that nothing moves inside a rank. */
export function keepSlots(shape: Shape, before: Int32Array, after: Int32Array): void {
  for (let r = 0; r < shape.ranks; r++) {
    const from = shape.slotStart[r] as number;
    const to = shape.slotStart[r + 1] as number;
    const had = before.subarray(from, to);
    const gets = Array.from(after.subarray(from, to));
    const stays = new Set(gets.filter((e) => had.includes(e)));
    const fresh = gets.filter((e) => !stays.has(e));
    for (let i = 0; i < had.length; i++) {
      after[from + i] = stays.has(had[i] as number) ? (had[i] as number) : (fresh.shift() as number);
    }
  }
}

/**
 * Renames the ranks of a new layer so that most experts stay where they are: the assignment of new ranks to old ones with the
 * largest overlap, among ranks with the same slots and speed (and, where groups live on nodes, inside each pair of nodes).
 */
export function matchRanks(shape: Shape, before: Int32Array, after: Int32Array): Int32Array {
  const overlap = (a: number, b: number): number => {
    if (shape.slotStart[a + 1] === undefined || shape.slotStart[b + 1] === undefined) return 0;
    const had = before.subarray(shape.slotStart[a] as number, shape.slotStart[a + 1] as number);
    const gets = after.subarray(shape.slotStart[b] as number, shape.slotStart[b + 1] as number);
    if (had.length !== gets.length || shape.speed[a] !== shape.speed[b]) return -1e6;
    let same = 0;
    for (const e of gets) if (had.includes(e)) same++;
    return same;
  };
  let take: number[];
  if (!shape.hierarchical) {
    take = assign(shape.ranks, overlap);
  } else {
    const perNode = shape.ranks / shape.nodes;
    const inside = (a: number, b: number) =>
      assign(perNode, (i, j) => overlap(a * perNode + i, b * perNode + j));
    const sum = (a: number, b: number) =>
      inside(a, b).reduce((all, j, i) => all + overlap(a * perNode + i, b * perNode + j), 0);
    take = assign(shape.nodes, sum).flatMap((b, a) => inside(a, b).map((j) => b * perNode + j));
  }
  const out = new Int32Array(shape.slots);
  take.forEach((b, a) => {
    const gets = after.subarray(shape.slotStart[b] as number, shape.slotStart[b + 1] as number);
    out.set(gets, shape.slotStart[a] as number);
  });
  keepSlots(shape, before, out);
  return out;
}

/** Assignment of n columns to n rows with the largest sum (Hungarian method with potentials, O(n^3)). */
export function assign(n: number, value: (row: number, column: number) => number): number[] {
  const rowOf = new Int32Array(n + 1);
  const u = new Float64Array(n + 1);
  const v = new Float64Array(n + 1);
  const cost = Array.from({ length: n }, (_, i) => Float64Array.from({ length: n }, (_, j) => -value(i, j)));
  for (let i = 1; i <= n; i++) {
    rowOf[0] = i;
    let column = 0;
    const least = new Float64Array(n + 1).fill(Number.POSITIVE_INFINITY);
    const via = new Int32Array(n + 1);
    const used = new Uint8Array(n + 1);
    do {
      used[column] = 1;
      const row = rowOf[column] as number;
      let delta = Number.POSITIVE_INFINITY;
      let next = 0;
      for (let j = 1; j <= n; j++) {
        if (used[j]) continue;
        const reduced =
          ((cost[row - 1] as Float64Array)[j - 1] as number) - (u[row] as number) - (v[j] as number);
        if (reduced < (least[j] as number)) {
          least[j] = reduced;
          via[j] = column;
        }
        if ((least[j] as number) < delta) {
          delta = least[j] as number;
          next = j;
        }
      }
      for (let j = 0; j <= n; j++) {
        if (used[j]) {
          u[rowOf[j] as number] = (u[rowOf[j] as number] as number) + delta;
          v[j] = (v[j] as number) - delta;
        } else least[j] = (least[j] as number) - delta;
      }
      column = next;
    } while (rowOf[column] !== 0);
    while (column !== 0) {
      const back = via[column] as number;
      rowOf[column] = rowOf[back] as number;
      column = back;
    }
  }
  const out = Array.from({ length: n }, () => 0);
  for (let j = 1; j <= n; j++) out[(rowOf[j] as number) - 1] = j - 1;
  return out;
}
