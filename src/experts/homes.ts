import { assign } from "./moves.ts";
import { hasCopies, type NodeGroups, Serving } from "./node-groups.ts";
import type { Trace } from "./trace.ts";

/** Tokens of each sample that would be spared a visit if it lived on a node: [sample x nodes + node]. */
export function sparedVisits(trace: Trace, groups: NodeGroups, length: number): Float64Array {
  const { nodes } = groups;
  const serving = new Serving(groups);
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
        if (home >= 0 && serving.has(e, home)) continue;
        const node = serving.away(e, t);
        if (seen[node] === stamp) continue;
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

/** Pairs of each sample by node, were it at home on none, and what its own node takes over: where its load goes from each home. */
class HomeLoads {
  readonly #nodes: number;
  readonly #away: Float64Array;
  /** [sample][home][node]: pairs that `home` takes from `node`. */
  readonly #taken: Float64Array;

  constructor(trace: Trace, groups: NodeGroups, length: number) {
    const { nodes } = groups;
    const serving = new Serving(groups);
    const samples = Math.floor(trace.tokens / length);
    this.#nodes = nodes;
    this.#away = new Float64Array(samples * nodes);
    this.#taken = new Float64Array(samples * nodes * nodes);
    for (let i = 0; i < samples * length * trace.k; i++) {
      const e = trace.chosen[i] as number;
      const t = Math.floor(i / trace.k);
      const n = Math.floor(t / length);
      const node = serving.away(e, t);
      this.#away[n * nodes + node] = (this.#away[n * nodes + node] as number) + 1;
      for (let home = 0; home < nodes; home++) {
        if (home === node || !serving.has(e, home)) continue;
        const cell = (n * nodes + home) * nodes + node;
        this.#taken[cell] = (this.#taken[cell] as number) + 1;
      }
    }
  }

  /** What the load of sample n costs on `home` where a pair on node x costs `price[x]`, over what it costs without copies. */
  cost(n: number, home: number, price: Float64Array): number {
    let sum = 0;
    for (let x = 0; x < this.#nodes; x++) {
      const taken = this.#taken[(n * this.#nodes + home) * this.#nodes + x] as number;
      sum += taken * ((price[home] as number) - (price[x] as number));
    }
    return sum;
  }

  /** Load of each node over the mean. */
  ratios(homes: Int32Array): Float64Array {
    const load = new Float64Array(this.#nodes);
    homes.forEach((home, n) => {
      for (let x = 0; x < this.#nodes; x++) {
        const taken = this.#taken[(n * this.#nodes + home) * this.#nodes + x] as number;
        load[x] = (load[x] as number) + (this.#away[n * this.#nodes + x] as number) - taken;
        load[home] = (load[home] as number) + taken;
      }
    });
    const mean = load.reduce((sum, w) => sum + w, 0) / this.#nodes;
    return load.map((w) => w / Math.max(1, mean));
  }
}

/** Rounds of raising the price of a pair on overloaded nodes. */
const PRICE_ROUNDS = 12;
/** Visits that a pair's price rises by a round for each mean of load above the limit. */
const PRICE_STEP = 6;

/**
 * Home node of each sample: in each global batch of `batch` samples every node gets equally many (or one more), and the visits of all
 * layers are least (assignment). Copies serve their own node, so homes move load too: nodes above `mostLoad` of the mean charge for each pair
 * (Lagrange multipliers, by subgradient), and of all rounds the one with the least excess, then the fewest visits, is taken.
 * `layers` pairs each layer's trace with its groups.
 */
export function chooseHomes(
  layers: readonly { readonly trace: Trace; readonly groups: NodeGroups }[],
  length: number,
  batch: number,
  mostLoad = 1.02,
): Int32Array {
  const [first] = layers;
  if (!first) return new Int32Array(0);
  const { nodes } = first.groups;
  const samples = Math.floor(first.trace.tokens / length);
  const spared = new Float64Array(samples * nodes);
  for (const { trace, groups } of layers)
    sparedVisits(trace, groups, length).forEach((value, i) => (spared[i] = (spared[i] as number) + value));
  const deal = (value: Float64Array) => {
    const homes = new Int32Array(samples);
    for (let from = 0; from < samples; from += batch) {
      const count = Math.min(batch, samples - from);
      const each = Math.ceil(count / nodes);
      const take = assign(each * nodes, (i, j) =>
        i < count ? (value[(from + i) * nodes + Math.floor(j / each)] as number) : 0,
      );
      for (let i = 0; i < count; i++) homes[from + i] = Math.floor((take[i] as number) / each);
    }
    return homes;
  };
  let best = deal(spared);
  if (!layers.some(({ groups }) => hasCopies(groups))) return best;
  const loads = layers.map(({ trace, groups }) => new HomeLoads(trace, groups, length));
  const prices = layers.map(() => new Float64Array(nodes));
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  let homes = best;
  for (let round = 0; ; round++) {
    const ratios = loads.map((load) => load.ratios(homes));
    const excess = Math.max(0, ...ratios.map((row) => Math.max(...row) - mostLoad));
    const visits = homes.reduce((sum, home, n) => sum + (spared[n * nodes + home] as number), 0);
    if (excess < least || (excess === least && visits > most)) [best, least, most] = [homes, excess, visits];
    if (round === PRICE_ROUNDS || excess === 0) return best;
    ratios.forEach((row, l) => {
      const price = prices[l] as Float64Array;
      row.forEach((ratio, x) => {
        price[x] = Math.max(0, (price[x] as number) + PRICE_STEP * (ratio - mostLoad));
      });
    });
    const value = spared.map((visit, i) => {
      const [n, home] = [Math.floor(i / nodes), i % nodes];
      return loads.reduce((sum, load, l) => sum - load.cost(n, home, prices[l] as Float64Array), visit);
    });
    homes = deal(value);
  }
}
