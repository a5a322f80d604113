import type { Trace } from "./trace.ts";

/**
 * Where one layer's experts are, by node. Each has one main place; `local` marks the nodes that hold a copy besides it,
 * [node x experts + expert]. A token uses the expert on its own node if it is there; else the nodes that have it take turns, token by
 * token. So does the engine, and with nodes that send alike every place gets the same share.
 */
export type NodeGroups = {
  readonly nodes: number;
  readonly nodeOf: Int32Array;
  readonly local: Uint8Array;
};

/** Which node serves a token. Ids below 0 are served by none. */
export class Serving {
  readonly #groups: NodeGroups;
  readonly #places: readonly (readonly number[])[];

  constructor(groups: NodeGroups) {
    const { nodes, nodeOf, local } = groups;
    this.#groups = groups;
    this.#places = Array.from(nodeOf, (main, e) =>
      Array.from({ length: nodes }, (_, x) => x).filter((x) => x === main || local[x * nodeOf.length + e]),
    );
  }

  /** Whether `node` has expert e. */
  has(e: number, node: number): boolean {
    const { nodeOf, local } = this.#groups;
    return nodeOf[e] === node || local[node * nodeOf.length + e] === 1;
  }

  /** Node that serves expert e for token t where its own node does not have it. */
  away(e: number, t: number): number {
    const places = this.#places[e] as readonly number[];
    return places[t % places.length] as number;
  }

  /** Node that serves expert e for token t that lives on `home`. */
  by(e: number, t: number, home: number): number {
    return this.has(e, home) ? home : this.away(e, t);
  }
}

/** Whether an expert is on several nodes. */
export const hasCopies = (groups: NodeGroups): boolean => groups.local.includes(1);

/** Groups without copies. */
export const plainGroups = (nodeOf: Int32Array, nodes: number): NodeGroups => ({
  nodes,
  nodeOf,
  local: new Uint8Array(nodes * nodeOf.length),
});

/** Home of each token when samples of `length` tokens live whole on a node. */
export const homesOfTokens = (trace: Trace, homes: Int32Array, length: number): Int32Array =>
  Int32Array.from({ length: trace.tokens }, (_, t) => homes[Math.floor(t / length)] as number);

/** Samples in turn over the nodes: homes where nothing is known. */
export const homesInTurn = (samples: number, nodes: number): Int32Array =>
  Int32Array.from({ length: samples }, (_, n) => n % nodes);

/** Mean number of nodes other than its own that a token's experts are served by. `home` is per token. */
export function remoteFrom(trace: Trace, groups: NodeGroups, home: Int32Array): number {
  const serving = new Serving(groups);
  const seen = new Int32Array(groups.nodes).fill(-1);
  let visits = 0;
  for (let t = 0; t < trace.tokens; t++) {
    const own = home[t] as number;
    seen[own] = t;
    for (let i = t * trace.k; i < (t + 1) * trace.k; i++) {
      const node = serving.by(trace.chosen[i] as number, t, own);
      if (seen[node] === t) continue;
      seen[node] = t;
      visits++;
    }
  }
  return visits / Math.max(1, trace.tokens);
}

/** Load of expert e that node x serves: [x x experts + e]. */
export function loadsByNode(trace: Trace, groups: NodeGroups, home: Int32Array): Float64Array {
  const serving = new Serving(groups);
  const loads = new Float64Array(groups.nodes * trace.experts);
  for (let i = 0; i < trace.chosen.length; i++) {
    const e = trace.chosen[i] as number;
    const t = Math.floor(i / trace.k);
    const node = serving.by(e, t, home[t] as number);
    loads[node * trace.experts + e] = (loads[node * trace.experts + e] as number) + 1;
  }
  return loads;
}

/** Busiest node over the mean. */
export function busiestNode(trace: Trace, groups: NodeGroups, home: Int32Array): number {
  const loads = loadsByNode(trace, groups, home);
  const sums = Array.from({ length: groups.nodes }, (_, x) =>
    loads.subarray(x * trace.experts, (x + 1) * trace.experts).reduce((sum, load) => sum + load, 0),
  );
  return (Math.max(...sums) * groups.nodes) / Math.max(1, trace.chosen.length);
}
