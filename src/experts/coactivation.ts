import { Random } from "../base/index.ts";
import { NodeRefiner, type Surroundings } from "./node-refiner.ts";
import { type Trace, traceLoads } from "./trace.ts";

export type GroupingOptions = Surroundings & {
  /** Most load of a node over the mean, on the trace; default 1.015, which leaves room for tokens not seen. */
  readonly mostLoad?: number;
  readonly passes?: number;
  /** Grouping to start from, in place of one grown from the trace. */
  readonly start?: Int32Array;
  /** Times that a sixth of the experts is scattered anew and refined again, on the first `SAMPLE` tokens; default 0. */
  readonly kicks?: number;
};

/** Tokens that kicked groupings are tried on; the best is refined on all. */
const SAMPLE = 16_384;

/**
 * Node of each expert, equally many a node, so that the experts of a token stand on few nodes while no node is overloaded.
 * A seed grouping grows around co-activated experts; then experts are exchanged (Fiduccia and Mattheyses' gains on the hypergraph of
 * tokens: exact count of nodes visited) while that lowers visits + penalty x tokens above `mostLoad`. Kicks leave local optima
 * (iterated local search). Deterministic. `nodes` must divide the experts.
 */
export function groupByCoactivation(trace: Trace, nodes: number, options: GroupingOptions = {}): Int32Array {
  const most = options.mostLoad ?? 1.015;
  const settle = (some: Trace, start: Int32Array, around: Surroundings) => {
    const nodeOf = start.slice();
    const refiner = new NodeRefiner(some, nodes, nodeOf, most, around);
    for (let pass = 0; pass < (options.passes ?? 12); pass++) if (!refiner.pass(pass)) break;
    return { nodeOf, cost: refiner.cost() };
  };
  let start = options.start ?? grow(trace, traceLoads(trace), nodes);
  if (options.kicks) {
    const few = Math.min(trace.tokens, SAMPLE);
    const some = { ...trace, tokens: few, chosen: trace.chosen.subarray(0, few * trace.k) };
    const share = few / trace.tokens;
    const around = {
      ...options,
      ...(options.fixed ? { fixed: options.fixed.map((load) => load * share) } : {}),
    };
    const random = new Random(trace.experts * 31 + nodes);
    let here = settle(some, start, around);
    let best = here;
    for (let kick = 0; kick < options.kicks; kick++) {
      const other = settle(some, scatter(here.nodeOf, random, options.pinned, nodes), around);
      // A little worse is accepted: the next kick may lead out.
      if (other.cost < here.cost * 1.002) here = other;
      if (other.cost < best.cost) best = other;
    }
    start = best.nodeOf;
  }
  return settle(trace, start, options).nodeOf;
}

/** Exchanges the nodes of up to a sixth of the experts, pair by pair. */
function scatter(
  nodeOf: Int32Array,
  random: Random,
  pinned: Uint8Array | undefined,
  nodes: number,
): Int32Array {
  const out = nodeOf.slice();
  const { length } = out;
  for (let k = random.int(2, Math.max(2, Math.floor(length / 6))); k > 0; k--) {
    const a = random.int(0, length - 1);
    const b = random.int(0, length - 1);
    const [A, B] = [out[a] as number, out[b] as number];
    if (pinned && (pinned[B * length + a] || pinned[A * length + b])) continue;
    out[a] = B;
    out[b] = A;
  }
  return nodes > 1 ? out : nodeOf;
}

/** Each node starts from the heaviest expert left and takes the one most often chosen with its members, for its own load. */
function grow(trace: Trace, loads: Float64Array, nodes: number): Int32Array {
  const { experts, k } = trace;
  const together = new Float64Array(experts * experts);
  for (let at = 0; at < trace.chosen.length; at += k) {
    for (let i = at; i < at + k; i++) {
      for (let j = at; j < at + k; j++) {
        if ((trace.chosen[i] as number) < 0 || (trace.chosen[j] as number) < 0) continue;
        const cell = (trace.chosen[i] as number) * experts + (trace.chosen[j] as number);
        if (i !== j) together[cell] = (together[cell] as number) + 1;
      }
    }
  }
  const size = experts / nodes;
  const nodeOf = new Int32Array(experts).fill(-1);
  for (let node = 0; node < nodes; node++) {
    const near = new Float64Array(experts);
    for (let i = 0; i < size; i++) {
      let best = -1;
      let most = -1;
      for (let e = 0; e < experts; e++) {
        if (nodeOf[e] !== -1) continue;
        // Later members by lift: how much more often than chance they come with the members.
        const value = i === 0 ? (loads[e] as number) : (near[e] as number) / ((loads[e] as number) + 1);
        if (value > most) {
          most = value;
          best = e;
        }
      }
      nodeOf[best] = node;
      for (let e = 0; e < experts; e++) {
        const own = (loads[best] as number) + 1;
        near[e] = (near[e] as number) + (together[best * experts + e] as number) / own;
      }
    }
  }
  return nodeOf;
}
