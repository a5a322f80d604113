import { BoundFinder } from "./bound.ts";
import { binsOf } from "./bins.ts";
import { groupBound } from "./group-bound.ts";
import { noiseFloor } from "./noise.ts";
import { layerSlots, maxOverMean, type Placement } from "./placement.ts";

/** What the monitor says about one layer after a step. */
export type LayerDigest = {
  readonly layer: number;
  readonly tokens: number;
  /** Heaviest expert over the mean, minus 1. */
  readonly maxVio: number;
  /** Standard deviation of the experts' loads over their mean. */
  readonly cv: number;
  /** Entropy of the shares over its largest value: 1 is even. */
  readonly entropy: number;
  readonly deadExperts: number;
  /** Slowest rank over the mean as it was in this step, and the ratio to the bound of this step's loads. */
  readonly realised: number;
  readonly bound: number;
  readonly toBound: number;
  /** What the last plan promised, if there was one. */
  readonly planned: number | undefined;
  readonly overDispersion: number;
  readonly noiseFloor: number;
};

export type StepDigest = {
  readonly step: number;
  readonly reports: number;
  readonly layers: readonly LayerDigest[];
};

/**
 * Live view of loads: every rank's counts are added as they come, in any order, and a step is closed into one digest. Memory is a few
 * rows per layer whatever the number of ranks; adding is one pass over the counts.
 */
export class LoadMonitor {
  #placement: Placement;
  #planned: readonly number[] | undefined;
  readonly #experts: number;
  readonly #sum: Float64Array;
  readonly #previous: Float64Array;
  readonly #dispersion: Float64Array;
  readonly #seen: Uint8Array;
  readonly #layerAt: Map<number, number>;
  readonly #finder: BoundFinder | undefined;
  #reports = 0;

  constructor(placement: Placement) {
    this.#placement = placement;
    this.#experts = placement.shape.experts;
    this.#sum = new Float64Array(placement.layers * this.#experts);
    this.#previous = new Float64Array(this.#sum.length);
    this.#dispersion = new Float64Array(placement.layers).fill(1);
    this.#seen = new Uint8Array(placement.layers);
    this.#layerAt = new Map(placement.ids.map((id, l) => [id, l]));
    const { shape } = placement;
    this.#finder = shape.hierarchical
      ? undefined
      : new BoundFinder(binsOf(shape, 0, shape.ranks, shape.experts));
  }

  /** From the next step on experts stand here; `planned` is the promised max/mean of each layer. */
  moved(placement: Placement, planned: readonly number[]): void {
    this.#placement = placement;
    this.#planned = planned;
  }

  /** Adds counts [layers of `ids`][experts] of one rank. Unknown layers and counts of another length are refused (false). */
  add(ids: readonly number[], counts: Int32Array | Uint32Array | Float64Array): boolean {
    const experts = this.#experts;
    if (counts.length !== ids.length * experts || ids.some((id) => !this.#layerAt.has(id))) return false;
    for (let i = 0; i < ids.length; i++) {
      const from = i * experts;
      const to = (this.#layerAt.get(ids[i] as number) as number) * experts;
      for (let e = 0; e < experts; e++) {
        this.#sum[to + e] = (this.#sum[to + e] as number) + (counts[from + e] as number);
      }
    }
    this.#reports++;
    return true;
  }

  /** Closes a step: its digest; the sums start again from zero. */
  close(step: number): StepDigest {
    const layers = this.#placement.ids.map((id, l) => this.#digest(id, l));
    const reports = this.#reports;
    this.#previous.set(this.#sum);
    this.#sum.fill(0);
    this.#reports = 0;
    return { step, reports, layers };
  }

  #digest(layer: number, l: number): LayerDigest {
    const experts = this.#experts;
    const row = this.#sum.subarray(l * experts, (l + 1) * experts);
    let tokens = 0;
    let most = 0;
    let square = 0;
    let logs = 0;
    let deadExperts = 0;
    for (let e = 0; e < experts; e++) {
      const w = row[e] as number;
      tokens += w;
      if (w > most) most = w;
      square += w * w;
      if (w > 0) logs += w * Math.log(w);
      else deadExperts++;
    }
    const mean = tokens / experts;
    this.#disperse(l, row, tokens);
    const { shape } = this.#placement;
    const bound = tokens > 0 ? (this.#finder?.find(row) ?? groupBound(shape, row).bound).ratio : 1;
    const realised = maxOverMean(shape, layerSlots(this.#placement, l), row);
    const phi = this.#dispersion[l] as number;
    return {
      layer,
      tokens,
      maxVio: mean > 0 ? most / mean - 1 : 0,
      cv: mean > 0 ? Math.sqrt(Math.max(0, square / experts - mean * mean)) / mean : 0,
      entropy: tokens > 0 && experts > 1 ? (Math.log(tokens) - logs / tokens) / Math.log(experts) : 1,
      deadExperts,
      realised,
      bound,
      toBound: realised / bound,
      planned: this.#planned?.[l],
      overDispersion: phi,
      noiseFloor: noiseFloor(shape.ranks, tokens / shape.ranks, phi),
    };
  }

  /** Running over-dispersion: half the squared step-to-step difference over the mean, an exponential mean of 20 steps. */
  #disperse(l: number, row: Float64Array, tokens: number): void {
    const before = this.#previous.subarray(l * this.#experts, (l + 1) * this.#experts);
    let total = 0;
    for (const w of before) total += w;
    if (total === 0 || tokens === 0) return;
    const scale = tokens / total;
    let variance = 0;
    for (let e = 0; e < row.length; e++)
      variance += ((row[e] as number) - (before[e] as number) * scale) ** 2 / 2;
    const phi = Math.max(1, variance / tokens);
    const weight = this.#seen[l] === 0 ? 1 : 0.05;
    this.#seen[l] = 1;
    this.#dispersion[l] = (this.#dispersion[l] as number) + weight * (phi - (this.#dispersion[l] as number));
  }
}
