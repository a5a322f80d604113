import { Arranger } from "./arrange.ts";
import { type Bins, binsOf, nodeBins } from "./bins.ts";
import { type Bound, BoundFinder } from "./bound.ts";
import { groupBound } from "./group-bound.ts";
import { expertOf, groupLoads } from "./groups.ts";
import { HeavyFirst } from "./heavy-first.ts";
import { Packer } from "./pack.ts";
import { exchange, rankLoads, slowest } from "./refine.ts";
import { type Memory, searchHarder, tryRemembered } from "./search.ts";
import type { Shape } from "./shape.ts";

/** A layer as placed: its slowest time and bound, both in load per unit of speed. */
export type Placed = { readonly time: number; readonly bound: Bound };

/** Places layers of one packing problem one after another. `goal` is the ratio to the bound at which refining stops. */
export class FlatPlanner {
  readonly #packer: Packer;
  readonly #arranger: Arranger | undefined;
  readonly #goal: number;
  readonly #bounds: BoundFinder;
  readonly #load: Float64Array;
  readonly #memory: Memory = { cut: undefined, missed: false };

  constructor(bins: Bins, goal: number) {
    this.#packer = new Packer(bins);
    this.#arranger = HeavyFirst.suits(bins) ? new Arranger(bins) : undefined;
    this.#goal = goal;
    this.#bounds = new BoundFinder(bins);
    this.#load = new Float64Array(bins.ranks);
  }

  /** `floor`: a time that need not be beaten (another node is slower anyway). */
  place(loads: Float64Array, out: Int32Array, floor = 0): Placed {
    const packer = this.#packer;
    const { bins } = packer;
    const bound = this.#bounds.find(loads, floor);
    const { order, counts } = this.#bounds;
    const goal = Math.max(floor, bound.time * this.#goal);
    const memory = this.#memory;
    const crowded = this.#crowded(loads, goal);
    if (memory.cut && !memory.missed) {
      const time = tryRemembered(packer, memory, loads, order, out, bound.time, goal);
      if (time <= goal) return { time, bound };
    }
    packer.packCounts(loads, counts, out);
    rankLoads(bins, packer.share, out, this.#load);
    let time = Number.POSITIVE_INFINITY;
    const far = slowest(bins, this.#load) > 1.02 * goal;
    const hopeless = crowded || (far && memory.cut !== undefined && !memory.missed);
    if (!hopeless) time = exchange(bins, packer.share, out, this.#load, goal, 4 * bins.total);
    if (time > goal) {
      time = slowest(bins, this.#load);
      if (this.#arranger) time = this.#arranger.improve(loads, order, out, time, goal);
    }
    if (time > goal) {
      time = searchHarder(packer, memory, loads, order, out, time, bound.time, goal);
    }
    return { time, bound };
  }

  /** More than k copies a rank above goal / (k + 1): some rank must exceed the goal, so exchanging is in vain. */
  #crowded(loads: Float64Array, goal: number): boolean {
    const { bins } = this.#packer;
    const { counts } = this.#bounds;
    if (!bins.even || bins.total === bins.experts) return false;
    const limit = goal * (bins.speed[0] as number);
    let halves = 0;
    let thirds = 0;
    for (let e = 0; e < bins.experts; e++) {
      const share = (loads[e] as number) / (counts[e] as number);
      if (share * 2 > limit) halves += counts[e] as number;
      if (share * 3 > limit) thirds += counts[e] as number;
    }
    return halves > bins.ranks || thirds > 2 * bins.ranks;
  }
}

/** Places layers of a shape: flat, or groups to nodes first and each node for itself. */
export class LayerPlanner {
  readonly #shape: Shape;
  readonly #flat: FlatPlanner | undefined;
  readonly #nodes: FlatPlanner[] = [];
  readonly #deal: FlatPlanner | undefined;
  readonly #goal: number;

  constructor(shape: Shape, goal: number) {
    this.#shape = shape;
    this.#goal = goal;
    if (!shape.hierarchical) {
      this.#flat = new FlatPlanner(binsOf(shape, 0, shape.ranks, shape.experts), goal);
      return;
    }
    const perNode = shape.ranks / shape.nodes;
    for (let node = 0; node < shape.nodes; node++) {
      const alike = shape.even && this.#nodes[0];
      this.#nodes.push(
        alike || new FlatPlanner(binsOf(shape, node * perNode, perNode, shape.experts / shape.nodes), goal),
      );
    }
    this.#deal = new FlatPlanner(nodeBins(shape), goal);
  }

  place(loads: Float64Array, out: Int32Array): Placed {
    return this.#flat ? this.#flat.place(loads, out) : this.#placeGroups(loads, out);
  }

  #placeGroups(loads: Float64Array, out: Int32Array): Placed {
    const shape = this.#shape;
    const { bound, assignment } = groupBound(shape, loads);
    const sets = assignment ? assignment.map((set) => [...set]) : this.#dealGroups(loads);
    const floor = bound.time * this.#goal;
    const times = sets.map((set, node) => this.#placeNode(loads, node, set, out, floor));
    // Groups change nodes in pairs while the slower of the two nodes gets faster; few layers need more than a round.
    const before = out.slice();
    let tries = shape.slots <= 128 ? 64 : 6;
    for (let better = true; better && tries > 0; ) {
      better = false;
      const worst = times.indexOf(Math.max(...times));
      if ((times[worst] as number) <= bound.time * this.#goal) break;
      for (let node = 0; node < shape.nodes && !better; node++) {
        if (node === worst) continue;
        for (let i = 0; i < (sets[worst] as number[]).length && !better; i++) {
          for (let j = 0; j < (sets[node] as number[]).length && !better && tries > 0; j++) {
            tries--;
            const old = Math.max(times[worst] as number, times[node] as number);
            trade(sets[worst] as number[], i, sets[node] as number[], j);
            const timeA = this.#placeNode(loads, worst, sets[worst] as number[], out, floor);
            const timeB = this.#placeNode(loads, node, sets[node] as number[], out, floor);
            if (Math.max(timeA, timeB) < old * (1 - 1e-9)) {
              times[worst] = timeA;
              times[node] = timeB;
              before.set(out);
              better = true;
            } else {
              trade(sets[worst] as number[], i, sets[node] as number[], j);
              out.set(before);
            }
          }
        }
      }
    }
    return { time: Math.max(...times), bound };
  }

  #placeNode(
    loads: Float64Array,
    node: number,
    set: readonly number[],
    out: Int32Array,
    floor: number,
  ): number {
    const shape = this.#shape;
    const perNode = shape.ranks / shape.nodes;
    const from = shape.slotStart[node * perNode] as number;
    const part = out.subarray(from, shape.slotStart[(node + 1) * perNode] as number);
    const { time } = (this.#nodes[node] as FlatPlanner).place(groupLoads(shape, loads, set), part, floor);
    for (let s = 0; s < part.length; s++) part[s] = expertOf(shape, set, part[s] as number);
    return time;
  }

  #dealGroups(loads: Float64Array): number[][] {
    const shape = this.#shape;
    const size = shape.experts / shape.groups;
    const sums = new Float64Array(shape.groups);
    for (let e = 0; e < shape.experts; e++) {
      sums[Math.floor(e / size)] = (sums[Math.floor(e / size)] as number) + (loads[e] as number);
    }
    const dealt = new Int32Array(shape.groups);
    (this.#deal as FlatPlanner).place(sums, dealt);
    const perNode = shape.groups / shape.nodes;
    return Array.from({ length: shape.nodes }, (_, node) =>
      Array.from(dealt.subarray(node * perNode, (node + 1) * perNode)).sort((a, b) => a - b),
    );
  }
}

function trade(a: number[], i: number, b: number[], j: number): void {
  const held = a[i] as number;
  a[i] = b[j] as number;
  b[j] = held;
}
