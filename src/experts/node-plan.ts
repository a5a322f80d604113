import { groupByCoactivation } from "./coactivation.ts";
import { assign } from "./moves.ts";
import type { Trace } from "./trace.ts";

/**
 * Where one layer's experts are, by node. Each has one main place; `local` marks the nodes that hold a copy besides it,
 * [node x experts + expert]. A token uses the copy on its own node if there is one, else the main place.
 */
export type NodeGroups = {
  readonly nodes: number;
  readonly nodeOf: Int32Array;
  readonly local: Uint8Array;
};

/** Node that serves expert e for tokens that live on `home`. */
const servedBy = (groups: NodeGroups, e: number, home: number): number =>
  groups.local[home * groups.nodeOf.length + e] ? home : (groups.nodeOf[e] as number);

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
  const seen = new Int32Array(groups.nodes).fill(-1);
  let visits = 0;
  for (let t = 0; t < trace.tokens; t++) {
    const own = home[t] as number;
    seen[own] = t;
    for (let i = t * trace.k; i < (t + 1) * trace.k; i++) {
      const node = servedBy(groups, trace.chosen[i] as number, own);
      if (seen[node] === t) continue;
      seen[node] = t;
      visits++;
    }
  }
  return visits / Math.max(1, trace.tokens);
}

/** Load of expert e that node x serves: [x x experts + e]. */
export function loadsByNode(trace: Trace, groups: NodeGroups, home: Int32Array): Float64Array {
  const loads = new Float64Array(groups.nodes * trace.experts);
  for (let i = 0; i < trace.chosen.length; i++) {
    const e = trace.chosen[i] as number;
    const node = servedBy(groups, e, home[Math.floor(i / trace.k)] as number);
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

/** Tokens of each sample that would be spared a visit if it lived on a node: [sample x nodes + node]. */
function sparedVisits(trace: Trace, groups: NodeGroups, length: number): Float64Array {
  const { nodes, nodeOf, local } = groups;
  const samples = Math.floor(trace.tokens / length);
  const spared = new Float64Array(samples * nodes);
  const seen = new Int32Array(nodes).fill(-1);
  for (let t = 0; t < samples * length; t++) {
    const row = Math.floor(t / length) * nodes;
    for (let home = -1; home < nodes; home++) {
      // Nodes to visit from here; from nowhere first, which is the most.
      const stamp = t * (nodes + 1) + home + 1;
      let visits = 0;
      for (let i = t * trace.k; i < (t + 1) * trace.k; i++) {
        const e = trace.chosen[i] as number;
        const node = nodeOf[e] as number;
        if (node === home || seen[node] === stamp || (home >= 0 && local[home * trace.experts + e])) continue;
        seen[node] = stamp;
        visits++;
      }
      for (let x = 0; x < nodes; x++) {
        if (home < 0 || x === home)
          spared[row + x] = (spared[row + x] as number) + (home < 0 ? visits : -visits);
      }
    }
  }
  return spared;
}

/**
 * Home node of each sample: in each global batch of `batch` samples every node gets equally many (or one more), and the visits of all
 * layers are least (assignment). `layers` pairs each layer's trace with its groups.
 */
export function chooseHomes(
  layers: readonly { readonly trace: Trace; readonly groups: NodeGroups }[],
  length: number,
  batch: number,
): Int32Array {
  const [first] = layers;
  if (!first) return new Int32Array(0);
  const { nodes } = first.groups;
  const samples = Math.floor(first.trace.tokens / length);
  const spared = new Float64Array(samples * nodes);
  for (const { trace, groups } of layers)
    sparedVisits(trace, groups, length).forEach((value, i) => (spared[i] = (spared[i] as number) + value));
  const homes = new Int32Array(samples);
  for (let from = 0; from < samples; from += batch) {
    const count = Math.min(batch, samples - from);
    const each = Math.ceil(count / nodes);
    const take = assign(each * nodes, (i, j) =>
      i < count ? (spared[(from + i) * nodes + Math.floor(j / each)] as number) : 0,
    );
    for (let i = 0; i < count; i++) homes[from + i] = Math.floor((take[i] as number) / each);
  }
  return homes;
}

export type NodePlanOptions = {
  /** Tokens of a sample; samples live whole on one node. */
  readonly length: number;
  /** Samples of a global batch, dealt to the nodes in equal parts; default 64. */
  readonly batch?: number;
  /** Copies besides the main places that each node has slots for; default 0. */
  readonly spare?: number;
  /** Choose the samples' homes too; else they are taken in turn. Default true. */
  readonly homes?: boolean;
  readonly mostLoad?: number;
  readonly kicks?: number;
  /** Node of each expert of each layer to start from, in place of groups grown from the traces. */
  readonly start?: readonly Int32Array[];
};

/** Rounds of: copies for the homes, groups for both, homes for the groups. */
const ROUNDS = 2;

/**
 * Groups of all layers, copies, and homes of the samples, each fitted to the others in turn: experts that samples of one node choose
 * stand on that node in every layer.
 */
export function planNodes(
  traces: readonly Trace[],
  nodes: number,
  options: NodePlanOptions,
): { readonly groups: readonly NodeGroups[]; readonly homes: Int32Array } {
  const { length, batch = 64, spare = 0 } = options;
  const samples = Math.floor((traces[0]?.tokens ?? 0) / length);
  const base = { mostLoad: options.mostLoad ?? 1.015 };
  let groups = traces.map((trace, l) =>
    plainGroups(
      options.start?.[l] ?? groupByCoactivation(trace, nodes, { ...base, kicks: options.kicks ?? 12 }),
      nodes,
    ),
  );
  let homes = homesInTurn(samples, nodes);
  const settleHomes = () => {
    if (options.homes === false) return;
    for (let turn = 0; turn < 3; turn++) {
      if (spare === 0 || turn > 0) {
        groups = groups.map((group, l) =>
          hasCopies(group) ? group : rename(group, traces[l] as Trace, homes, length),
        );
      }
      homes = chooseHomes(
        groups.map((group, l) => ({ trace: traces[l] as Trace, groups: group })),
        length,
        batch,
      );
    }
  };
  if (options.homes !== false && groups[0]) {
    homes = chooseHomes([{ trace: traces[0] as Trace, groups: groups[0] }], length, batch);
  }
  settleHomes();
  for (let round = 0; round < ROUNDS && (spare > 0 || options.homes !== false); round++) {
    groups = groups.map((group, l) => {
      const trace = traces[l] as Trace;
      const home = homesOfTokens(trace, homes, length);
      const local = spare > 0 ? chooseCopies(trace, group.nodeOf, nodes, home, spare) : group.local;
      const { left, fixed } = withoutLocal(trace, local, home, nodes);
      const around = { home, fixed, pinned: local };
      const nodeOf = groupByCoactivation(left, nodes, { ...base, ...around, start: group.nodeOf });
      return { nodes, nodeOf, local };
    });
    settleHomes();
  }
  return { groups, homes };
}

const hasCopies = (groups: NodeGroups): boolean => groups.local.includes(1);

/** Names of the nodes of a group without copies so that most visits go to the samples' homes. */
function rename(groups: NodeGroups, trace: Trace, homes: Int32Array, length: number): NodeGroups {
  const { nodes } = groups;
  const spared = sparedVisits(trace, groups, length);
  const sum = new Float64Array(nodes * nodes);
  homes.forEach((home, n) => {
    for (let x = 0; x < nodes; x++)
      sum[x * nodes + home] = (sum[x * nodes + home] as number) + (spared[n * nodes + x] as number);
  });
  const take = assign(nodes, (x, home) => sum[x * nodes + home] as number);
  return plainGroups(
    groups.nodeOf.map((x) => take[x] as number),
    nodes,
  );
}

/**
 * Copies of each node, one more a round: the expert whose absence sends most tokens that live there away. A token that goes to a node
 * for n experts counts 1 / n for each.
 */
function chooseCopies(
  trace: Trace,
  nodeOf: Int32Array,
  nodes: number,
  home: Int32Array,
  spare: number,
): Uint8Array {
  const { experts, k, chosen } = trace;
  const local = new Uint8Array(nodes * experts);
  const at = new Int32Array(nodes);
  for (let round = 0; round < spare; round++) {
    const value = new Float64Array(nodes * experts);
    for (let t = 0; t < trace.tokens; t++) {
      const own = home[t] as number;
      const row = own * experts;
      at.fill(0);
      for (let i = t * k; i < (t + 1) * k; i++) {
        const e = chosen[i] as number;
        const node = nodeOf[e] as number;
        if (node !== own && !local[row + e]) at[node] = (at[node] as number) + 1;
      }
      for (let i = t * k; i < (t + 1) * k; i++) {
        const e = chosen[i] as number;
        const node = nodeOf[e] as number;
        if (node !== own && !local[row + e])
          value[row + e] = (value[row + e] as number) + 1 / (at[node] as number);
      }
    }
    for (let x = 0; x < nodes; x++) {
      let best = -1;
      for (let e = 0; e < experts; e++) {
        if (nodeOf[e] === x || local[x * experts + e]) continue;
        if (best < 0 || (value[x * experts + e] as number) > (value[x * experts + best] as number)) best = e;
      }
      if (best >= 0) local[x * experts + best] = 1;
    }
  }
  return local;
}

/** The trace without the choices that copies at home serve, and the load that those are to each node. */
function withoutLocal(
  trace: Trace,
  local: Uint8Array,
  home: Int32Array,
  nodes: number,
): { left: Trace; fixed: Float64Array } {
  const fixed = new Float64Array(nodes);
  const chosen = trace.chosen.map((e, i) => {
    const own = home[Math.floor(i / trace.k)] as number;
    if (!local[own * trace.experts + e]) return e;
    fixed[own] = (fixed[own] as number) + 1;
    return -1;
  });
  return { left: { ...trace, chosen }, fixed };
}
