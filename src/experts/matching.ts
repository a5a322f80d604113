/**
 * A perfect matching of a graph, or undefined where there is none (Edmonds' blossoms, O(V^3)).
 *
 * @param size vertices 0 .. size - 1
 * @param joined whether two different vertices may be matched, symmetric
 * @returns the partner of each vertex
 */
export function perfectMatching(
  size: number,
  joined: (a: number, b: number) => boolean,
): Int32Array | undefined {
  const partner = new Int32Array(size).fill(-1);
  const parent = new Int32Array(size);
  const base = new Int32Array(size);
  const outer = new Uint8Array(size);
  const at = (list: Int32Array, v: number) => list[v] as number;

  /** Vertex where the alternating paths of a and b to the root meet. */
  const meeting = (a: number, b: number): number => {
    const passed = new Uint8Array(size);
    for (let v = a; ; v = at(parent, at(partner, v))) {
      v = at(base, v);
      passed[v] = 1;
      if (at(partner, v) < 0) break;
    }
    for (let v = b; ; v = at(parent, at(partner, v))) {
      v = at(base, v);
      if (passed[v]) return v;
    }
  };
  const mark = (inside: Uint8Array, from: number, top: number, child: number): void => {
    for (let v = from, next = child; at(base, v) !== top; v = at(parent, next)) {
      inside[at(base, v)] = 1;
      inside[at(base, at(partner, v))] = 1;
      parent[v] = next;
      next = at(partner, v);
    }
  };
  /** End of an augmenting path from the root, or -1. */
  const search = (root: number): number => {
    parent.fill(-1);
    outer.fill(0);
    for (let v = 0; v < size; v++) base[v] = v;
    outer[root] = 1;
    const queue = [root];
    for (const v of queue) {
      for (let w = 0; w < size; w++) {
        if (w === v || !joined(v, w) || at(base, v) === at(base, w) || at(partner, v) === w) continue;
        if (w === root || (at(partner, w) >= 0 && at(parent, at(partner, w)) >= 0)) {
          // An odd cycle: it shrinks to one vertex.
          const top = meeting(v, w);
          const inside = new Uint8Array(size);
          mark(inside, v, top, w);
          mark(inside, w, top, v);
          for (let u = 0; u < size; u++) {
            if (!inside[at(base, u)]) continue;
            base[u] = top;
            if (!outer[u]) queue.push(u);
            outer[u] = 1;
          }
        } else if (at(parent, w) < 0) {
          parent[w] = v;
          const next = at(partner, w);
          if (next < 0) return w;
          outer[next] = 1;
          queue.push(next);
        }
      }
    }
    return -1;
  };

  for (let root = 0; root < size; root++) {
    if (at(partner, root) >= 0) continue;
    let v = search(root);
    if (v < 0) return undefined;
    while (v >= 0) {
      const before = at(parent, v);
      const next = at(partner, before);
      partner[v] = before;
      partner[before] = v;
      v = next;
    }
  }
  return partner;
}
