import type { Cluster } from "../../cluster/index.ts";
import { messageSeconds } from "../../cluster/index.ts";
import { type LayerBody, type Model, wordTable } from "../../model/index.ts";
import { type Layout, type Recompute, stageRank, stageRanks, type Training } from "../layout.ts";
import type { StageCosts } from "../schedule/index.ts";
import { hopWires, type StageHome, stageHomes } from "./devices.ts";
import type { LayerContext, LayerCost } from "./context.ts";
import { embeddingCost, headCost, layerCost } from "./layer.ts";
import { addTerms, EXPERT, FIRST_COMM, noTerms, type Terms, total } from "./terms.ts";
import { expertLoad, type Traits } from "./traits.ts";

const BYTES = { float32: 4, bfloat16: 2, fp8: 1 } as const;

/** Terms of one micro-batch through one virtual stage. */
export type StageTerms = {
  readonly forward: Terms;
  readonly backward: Terms;
  readonly weight: Terms;
  /** Forward work done again before backward. */
  readonly recompute: Terms;
};

/** What time needs of the model and hardware; caches layer costs, so keep one for a whole search. */
export class StageModel {
  readonly model: Model;
  readonly cluster: Cluster;
  readonly training: Training;
  readonly traits: Traits;
  readonly #costs = new Map<string, Map<LayerBody | "embedding" | "head", LayerCost>>();
  readonly #deviceKeys = new Map<unknown, number>();

  constructor(model: Model, cluster: Cluster, training: Training, traits: Traits) {
    this.model = model;
    this.cluster = cluster;
    this.training = training;
    this.traits = traits;
  }

  context(layout: Layout, home: StageHome): LayerContext {
    const { training, traits, model } = this;
    const { precision } = training;
    return {
      device: home.device,
      wires: home.wires,
      hidden: model.hidden,
      streams: model.streams,
      tokens: (training.microBatch * training.sequence) / layout.cp,
      sequence: training.sequence,
      tp: layout.tp,
      cp: layout.cp,
      ep: layout.ep,
      etp: layout.etp,
      sequenceParallel: layout.sequenceParallel && layout.tp > 1,
      contextParallel: layout.contextParallel,
      format: traits.compute,
      expertFormat: traits.expertCompute,
      activationBytes: BYTES[precision.activations],
      dispatchBytes: BYTES[precision.dispatch],
      gradientBytes: BYTES[precision.gradients],
      imbalance: expertLoad(traits, layout.ep).slowest,
      deduplicate: traits.deduplicate,
      consecutive: traits.consecutive,
      tensorOverlap: traits.overlapTensor,
      fusedCasts: traits.fusedCasts,
      fusedBias: traits.fusedBias,
      stash: traits.stash,
    };
  }

  /** Costs of layer bodies (and the two ends of the model) under a layout, on a stage's hardware; remembered by body. */
  costsAt(layout: Layout, home: StageHome): (what: LayerBody | "embedding" | "head") => LayerCost {
    let id = this.#deviceKeys.get(home.wires.links);
    if (id === undefined) {
      id = this.#deviceKeys.size;
      this.#deviceKeys.set(home.wires.links, id);
    }
    const key = `${home.device.id}/${id}/${layout.tp}/${layout.cp}/${layout.ep}/${layout.etp}/${layout.sequenceParallel}/${layout.contextParallel}`;
    let known = this.#costs.get(key);
    if (!known) {
      known = new Map();
      this.#costs.set(key, known);
    }
    const costs = known;
    return (what) => {
      let cost = costs.get(what);
      if (!cost) {
        cost = this.#cost(what, this.context(layout, home));
        costs.set(what, cost);
      }
      return cost;
    };
  }

  #cost(what: LayerBody | "embedding" | "head", context: LayerContext): LayerCost {
    const { model } = this;
    if (what === "embedding") return embeddingCost(context);
    if (what !== "head") return layerCost(what, context);
    const weights = model.tied
      ? [...model.head.weights, ...wordTable(model).map(asLinear)]
      : model.head.weights;
    return headCost({ weights }, model.vocabulary, context);
  }

  /** Terms of every virtual stage, in order; `pace`: share of the measured exchange that is a rank's own. */
  stageTerms(
    layout: Layout,
    homes: readonly StageHome[] = stageHomes(this.cluster, layout),
    pace = 1,
  ): StageTerms[] {
    const last = layout.stages.length - 1;
    const at = homes.map((home) => this.costsAt(layout, home));
    return layout.stages.map((layers, stage) => {
      const cost = at[stageRank(layout, stage)] as (typeof at)[number];
      const out: StageTerms = {
        forward: noTerms(),
        backward: noTerms(),
        weight: noTerms(),
        recompute: noTerms(),
      };
      const recompute = layout.stageRecompute?.[stage] ?? layout.recompute;
      let again = recompute.kind === "full" ? (recompute.layers ?? layers.length) : 0;
      const add = (one: LayerCost, times: number) => {
        addTerms(out.forward, one.forward, times);
        addTerms(out.backward, one.backward, times);
        addTerms(out.weight, one.weight, times);
      };
      if (stage === 0) add(cost("embedding"), 1);
      const bodies = new Map<LayerBody, number>();
      for (const index of layers) {
        const body = (this.model.layers[index] as Model["layers"][number]).body;
        bodies.set(body, (bodies.get(body) ?? 0) + 1);
        if (again > 0) {
          addTerms(out.recompute, cost(body).forward);
          again--;
        }
      }
      for (const [body, count] of bodies) {
        add(cost(body), count);
        if (recompute.kind === "selective") addTerms(out.recompute, selected(cost(body), recompute), count);
      }
      if (stage === last) {
        add(cost("head"), 1);
        for (const { body } of this.training.mtp ? this.model.mtp : []) {
          add(cost(body), 1);
          add(cost("head"), 1);
          if (recompute.kind === "full") addTerms(out.recompute, cost(body).forward);
        }
      }
      if (pace !== 1) {
        for (const part of [out.forward, out.backward, out.weight, out.recompute]) {
          for (let i = FIRST_COMM; i < part.length; i++) part[i] = (part[i] as number) * pace;
        }
      }
      return out;
    });
  }

  /** Seconds the simulation works with. */
  costs(layout: Layout, terms: readonly StageTerms[], homes: readonly StageHome[]): StageCosts {
    const stages = layout.stages.length;
    const make = (of: (stage: number) => number) =>
      Float64Array.from({ length: stages }, (_, stage) => of(stage));
    const { traits } = this;
    const open = (t: Terms) => total(t) - hiddenExpert(t, traits);
    // Pairs interleave expert exchange with compute; tensor-parallel collectives stand between products and stay.
    const comm = (t: Terms) => (t[EXPERT] as number) - hiddenExpert(t, traits);
    const at = (stage: number) => terms[stage] as StageTerms;
    const host = (stage: number) =>
      (traits.hostLayerSeconds / 3) * (layout.stages[stage] as readonly number[]).length;
    return {
      forward: make((s) => Math.max(open(at(s).forward), host(s))),
      backward: make((s) =>
        Math.max(open(at(s).backward) + total(at(s).weight) + open(at(s).recompute), 2 * host(s)),
      ),
      weight: make((s) => total(at(s).weight)),
      forwardComm: make((s) => comm(at(s).forward)),
      backwardComm: make((s) => comm(at(s).backward) + comm(at(s).recompute)),
      hop: make((s) => this.hopSeconds(layout, homes, s)),
      blockingHops: !traits.overlapPipeline,
      pairSlowdown: traits.overlapSlowdown,
    };
  }

  /** Message from virtual stage s to the next; 0 inside a rank. */
  hopSeconds(layout: Layout, homes: readonly StageHome[], stage: number): number {
    if (stage + 1 >= layout.stages.length) return 0;
    const [a, b] = [stageRank(layout, stage), stageRank(layout, stage + 1)];
    if (a === b) return 0;
    const { training, model } = this;
    const cut = layout.sequenceParallel ? layout.tp : 1;
    const tokens = (training.microBatch * training.sequence) / layout.cp / cut;
    const bytes = tokens * model.hidden * model.streams * BYTES[training.precision.activations];
    const wires = hopWires(this.cluster, homes[a] as StageHome, homes[b] as StageHome);
    // Some pair of the two stages straddles every border of a block that lies among their ranks, and the slowest pair counts.
    const ranks = stageRanks(layout);
    const first = Math.min(a, b) * ranks;
    const last = (Math.max(a, b) + 1) * ranks - 1;
    const links = wires.links.filter(({ span }) => Math.floor(first / span) === Math.floor(last / span));
    return messageSeconds({ ...wires, links }, bytes, Math.abs(a - b) * ranks);
  }
}

/** Exchange hidden behind other work of the same pass, less the slowdown that hiding causes. */
export function hiddenExpert(terms: Terms, traits: Traits): number {
  const expert = terms[EXPERT] as number;
  const work = total(terms, FIRST_COMM);
  return Math.min(expert * traits.overlapExpert, work) * (1 - traits.overlapSlowdown);
}

function selected(cost: LayerCost, recompute: Recompute & { kind: "selective" }): Terms {
  const sum = noTerms();
  const wide = new Set(recompute.regions);
  for (const region of wide) {
    // A region inside a chosen larger one is computed again with it, not twice.
    if (wide.has("attention") && (region === "coreAttention" || region === "upProjection")) continue;
    if (wide.has("moe") && (region === "moeActivation" || region === "sharedExperts")) continue;
    const terms = cost.regions[region];
    if (terms) addTerms(sum, terms);
  }
  return sum;
}

const asLinear = <W extends { readonly use: string }>(weight: W) => ({ ...weight, use: "linear" as const });
