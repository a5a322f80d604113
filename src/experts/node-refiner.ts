import { Random } from "../base/index.ts";
import { type Trace, traceLoads } from "./trace.ts";

/** What is decided besides the grouping. */
export type Surroundings = {
  /** [token x nodes + node]: 1 where the token is anyway, so that experts there cost it no visit. Default: nowhere. */
  readonly visited?: Uint8Array;
  /** Load that each node has anyway. */
  readonly fixed?: Float64Array;
  /** [node x experts + expert]: 1 where the node holds a copy of the expert already, so that it may not move there. */
  readonly pinned?: Uint8Array;
};

/** Visits that one token-slot above the most is worth. */
const PENALTY = 16;

/**
 * Keeps, per token, how many of its experts stand on each node, and the gains that follow. Chosen ids below 0 are skipped: experts that
 * cost the token nothing.
 */
export class NodeRefiner {
  readonly #trace: Trace;
  readonly #loads: Float64Array;
  readonly #nodes: number;
  readonly #nodeOf: Int32Array;
  readonly #most: number;
  readonly #count: Uint8Array;
  /** Tokens for which the expert is the only one on its node. */
  readonly #alone: Float64Array;
  /** [expert][node]: tokens of the expert that do not visit the node yet. */
  readonly #fresh: Float64Array;
  readonly #tokensOf: Int32Array[];
  readonly #nodeLoad: Float64Array;
  readonly #pinned: Uint8Array | undefined;

  constructor(trace: Trace, nodes: number, nodeOf: Int32Array, mostLoad: number, around: Surroundings) {
    const loads = traceLoads(trace);
    const { visited, fixed } = around;
    this.#trace = trace;
    this.#pinned = around.pinned;
    this.#loads = loads;
    this.#nodes = nodes;
    this.#nodeOf = nodeOf;
    const all =
      loads.reduce((sum, load) => sum + load, 0) + (fixed?.reduce((sum, load) => sum + load, 0) ?? 0);
    this.#most = (mostLoad * all) / nodes;
    // Such a visit counts as one more expert, which never moves.
    this.#count = visited?.slice(0, trace.tokens * nodes) ?? new Uint8Array(trace.tokens * nodes);
    this.#alone = new Float64Array(trace.experts);
    this.#fresh = new Float64Array(trace.experts * nodes);
    this.#nodeLoad = fixed?.slice() ?? new Float64Array(nodes);
    const fill = new Int32Array(trace.experts);
    this.#tokensOf = Array.from(loads, (load) => new Int32Array(load));
    for (let i = 0; i < trace.chosen.length; i++) {
      const e = trace.chosen[i] as number;
      if (e < 0) continue;
      const t = Math.floor(i / trace.k);
      (this.#tokensOf[e] as Int32Array)[fill[e] as number] = t;
      fill[e] = (fill[e] as number) + 1;
      const cell = t * nodes + (nodeOf[e] as number);
      this.#count[cell] = (this.#count[cell] as number) + 1;
    }
    for (let e = 0; e < trace.experts; e++) {
      const node = nodeOf[e] as number;
      this.#nodeLoad[node] = (this.#nodeLoad[node] as number) + (loads[e] as number);
    }
    for (let t = 0; t < trace.tokens; t++) this.#contribute(t);
  }

  /** Nodes visited by all tokens (those it is on anyway too) plus the penalty. */
  cost(): number {
    let seen = 0;
    for (const count of this.#count) if (count > 0) seen++;
    for (const load of this.#nodeLoad) seen += PENALTY * Math.max(0, load - this.#most);
    return seen;
  }

  /** One sweep over all experts in a seeded order; false when nothing improved. */
  pass(seed: number): boolean {
    const { experts } = this.#trace;
    let improved = false;
    for (const a of new Random(seed).shuffle(Array.from({ length: experts }, (_, e) => e))) {
      const A = this.#nodeOf[a] as number;
      const ranked: { b: number; value: number }[] = [];
      for (let b = 0; b < experts; b++) {
        if (this.#nodeOf[b] === A || this.#barred(a, b)) continue;
        const value = this.#guess(a, b) + this.#overload(a, b);
        if (value < 0) ranked.push({ b, value });
      }
      ranked.sort((x, y) => x.value - y.value || x.b - y.b);
      let best = -1;
      let least = -1e-9;
      for (const { b, value } of ranked.slice(0, 6)) {
        // `guess` never overstates the cost, so once it is above the best exact value the rest cannot win.
        if (value >= least) break;
        const exact = value + this.#shared(a, b);
        if (exact < least) {
          least = exact;
          best = b;
        }
      }
      if (best >= 0) {
        this.#exchange(a, best);
        improved = true;
      }
    }
    return improved;
  }

  #barred(a: number, b: number): boolean {
    const pinned = this.#pinned;
    if (!pinned) return false;
    const { experts } = this.#trace;
    return Boolean(
      pinned[(this.#nodeOf[b] as number) * experts + a] || pinned[(this.#nodeOf[a] as number) * experts + b],
    );
  }

  /** Change of visits if a and b change places, as if no token chose both. */
  #guess(a: number, b: number): number {
    const A = this.#nodeOf[a] as number;
    const B = this.#nodeOf[b] as number;
    const more = (this.#fresh[a * this.#nodes + B] as number) + (this.#fresh[b * this.#nodes + A] as number);
    return more - (this.#alone[a] as number) - (this.#alone[b] as number);
  }

  /** What `guess` counts wrongly: tokens that chose both visit the same nodes afterwards. */
  #shared(a: number, b: number): number {
    const A = this.#nodeOf[a] as number;
    const B = this.#nodeOf[b] as number;
    const ofA = this.#tokensOf[a] as Int32Array;
    const ofB = this.#tokensOf[b] as Int32Array;
    let wrong = 0;
    for (let i = 0, j = 0; i < ofA.length && j < ofB.length; ) {
      const x = ofA[i] as number;
      const y = ofB[j] as number;
      if (x === y) {
        if (this.#count[x * this.#nodes + A] === 1) wrong++;
        if (this.#count[x * this.#nodes + B] === 1) wrong++;
      }
      if (x <= y) i++;
      if (y <= x) j++;
    }
    return wrong;
  }

  /** Change of the penalty. */
  #overload(a: number, b: number): number {
    const moved = (this.#loads[a] as number) - (this.#loads[b] as number);
    const A = this.#nodeLoad[this.#nodeOf[a] as number] as number;
    const B = this.#nodeLoad[this.#nodeOf[b] as number] as number;
    const over = (load: number) => Math.max(0, load - this.#most);
    return PENALTY * (over(A - moved) + over(B + moved) - over(A) - over(B));
  }

  #exchange(a: number, b: number): void {
    const A = this.#nodeOf[a] as number;
    const B = this.#nodeOf[b] as number;
    this.#move(a, A, B);
    this.#move(b, B, A);
  }

  /** Moves an expert; of each of its tokens only what changes on the two nodes is counted anew. */
  #move(e: number, from: number, to: number): void {
    const count = this.#count;
    const load = this.#loads[e] as number;
    this.#nodeOf[e] = -1;
    for (const t of this.#tokensOf[e] as Int32Array) {
      const row = t * this.#nodes;
      const left = (count[row + from] as number) - 1;
      const here = (count[row + to] as number) + 1;
      count[row + from] = left;
      count[row + to] = here;
      if (left === 0) this.#newNode(t, from, 1);
      if (left === 1) this.#lastOn(t, from, 1);
      if (here === 1) this.#newNode(t, to, -1);
      if (here === 2) this.#lastOn(t, to, -1);
      this.#alone[e] = (this.#alone[e] as number) + (here === 1 ? 1 : 0) - (left === 0 ? 1 : 0);
    }
    this.#nodeOf[e] = to;
    this.#nodeLoad[from] = (this.#nodeLoad[from] as number) - load;
    this.#nodeLoad[to] = (this.#nodeLoad[to] as number) + load;
  }

  /** The token comes to the node no more (1), or for the first time (-1). */
  #newNode(t: number, node: number, sign: 1 | -1): void {
    const { k, chosen } = this.#trace;
    for (let i = t * k; i < (t + 1) * k; i++) {
      const cell = (chosen[i] as number) * this.#nodes + node;
      if (cell >= 0) this.#fresh[cell] = (this.#fresh[cell] as number) + sign;
    }
  }

  /** The one expert that the token has on the node is alone there now (1), or no longer (-1). */
  #lastOn(t: number, node: number, sign: 1 | -1): void {
    const { k, chosen } = this.#trace;
    for (let i = t * k; i < (t + 1) * k; i++) {
      const e = chosen[i] as number;
      if (e >= 0 && this.#nodeOf[e] === node) this.#alone[e] = (this.#alone[e] as number) + sign;
    }
  }

  /** Adds one token's part of all gains. */
  #contribute(t: number): void {
    const { k, chosen } = this.#trace;
    const nodes = this.#nodes;
    for (let i = t * k; i < (t + 1) * k; i++) {
      const e = chosen[i] as number;
      if (e < 0) continue;
      if (this.#count[t * nodes + (this.#nodeOf[e] as number)] === 1) {
        this.#alone[e] = (this.#alone[e] as number) + 1;
      }
      for (let node = 0; node < nodes; node++) {
        const cell = e * nodes + node;
        if (this.#count[t * nodes + node] === 0) this.#fresh[cell] = (this.#fresh[cell] as number) + 1;
      }
    }
  }
}
