import { groupByCoactivation } from "./coactivation.ts";
import { chooseHomes, sparedVisits } from "./homes.ts";
import { assign } from "./moves.ts";
import {
  hasCopies,
  homesInTurn,
  homesOfTokens,
  type NodeGroups,
  plainGroups,
  Serving,
} from "./node-groups.ts";
import type { Trace } from "./trace.ts";

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
  const base = { mostLoad: options.mostLoad ?? 1.02 };
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
      const { left, fixed, visited } = withoutCopies(trace, { nodes, nodeOf: group.nodeOf, local }, home);
      const around = { visited, fixed, pinned: local };
      const nodeOf = groupByCoactivation(left, nodes, { ...base, ...around, start: group.nodeOf });
      return { nodes, nodeOf, local };
    });
    settleHomes();
  }
  return { groups, homes };
}

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

/**
 * The trace without the choices that copies serve, whatever the main places are; the load that those are to each node, and the nodes that
 * each token visits anyway, its home with them: [token x nodes + node].
 */
function withoutCopies(
  trace: Trace,
  groups: NodeGroups,
  home: Int32Array,
): { left: Trace; fixed: Float64Array; visited: Uint8Array } {
  const { nodes, nodeOf } = groups;
  const serving = new Serving(groups);
  const fixed = new Float64Array(nodes);
  const visited = new Uint8Array(trace.tokens * nodes);
  home.forEach((own, t) => (visited[t * nodes + own] = 1));
  const chosen = trace.chosen.map((e, i) => {
    const t = Math.floor(i / trace.k);
    const node = serving.by(e, t, home[t] as number);
    if (node === nodeOf[e]) return e;
    fixed[node] = (fixed[node] as number) + 1;
    visited[t * nodes + node] = 1;
    return -1;
  });
  return { left: { ...trace, chosen }, fixed, visited };
}
