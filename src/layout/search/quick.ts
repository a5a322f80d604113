import { type Cluster, clusterDevices, groupDevices } from "../../cluster/index.ts";
import { bodyWeights, elements, type LayerBody, type Weight } from "../../model/index.ts";
import { expertData, type Layout, microBatches } from "../layout.ts";
import { type StageHome, stageHomes, type StageModel } from "../time/index.ts";

/**
 * Bounds that cost well under a microsecond a layout once their few ingredients are known, so that tens of thousands of
 * layouts can be discarded before anything is simulated. Both are lower bounds: what they discard could not have won.
 */
const WEIGHT = { float32: 4, bfloat16: 2, fp8: 1, mxfp8: 1, fp4: 0.5 } as const;
const GRADIENT = { float32: 4, bfloat16: 2 } as const;
const MOMENT = { float32: 4, bfloat16: 2, fp8: 1 } as const;

type Sizes = { readonly dense: number; readonly expert: number };

export class QuickBounds {
  readonly #stages: StageModel;
  readonly #sizes = new Map<number, Sizes>();
  readonly #work = new Map<string, number>();
  readonly #bodies: ReadonlyMap<LayerBody, number>;
  readonly #homes: readonly StageHome[];
  /** Share of the cluster's devices in each group. */
  readonly #shares: readonly number[];

  constructor(stages: StageModel) {
    this.#stages = stages;
    const bodies = new Map<LayerBody, number>();
    for (const { body } of [...stages.model.layers, ...(stages.training.mtp ? stages.model.mtp : [])]) {
      bodies.set(body, (bodies.get(body) ?? 0) + 1);
    }
    this.#bodies = bodies;
    const devices = clusterDevices(stages.cluster);
    this.#shares = stages.cluster.groups.map((group) => groupDevices(group) / devices);
    this.#homes = stages.cluster.groups.map(
      (group) => stageHomes({ ...stages.cluster, groups: [group] }, ONE)[0] as StageHome,
    );
  }

  /** Least bytes of weights, gradients, optimizer state and layer inputs on the fullest rank. */
  bytes(layout: Layout): number {
    const { model, training } = this.#stages;
    const { precision, optimizer } = training;
    const sizes = this.#sizesOf(layout);
    const weight = WEIGHT[precision.weights];
    const gradient = GRADIENT[precision.gradients];
    const moment = MOMENT[precision.moments];
    const master = precision.master === "float32" ? 4 : precision.master === "remainder" ? 2 : 0;
    const states =
      ((optimizer === "adamw" ? 2 : optimizer === "muon" ? 1 : 0) * moment + master) *
      (1 - layout.offload.optimizer);
    const shard = layout.dpShard * layout.cp;
    const expertShard = Math.max(1, expertData(layout) / layout.dpReplicate);
    const per = (over: number) =>
      layout.zero === 3
        ? (weight + gradient + states) / over
        : weight +
          (layout.zero === 2 ? gradient / over : gradient) +
          (layout.zero === 0 ? states : states / over);
    const held = (sizes.dense * per(shard) + sizes.expert * per(expertShard)) / layout.pp;
    const tokens =
      (training.microBatch * training.sequence) / layout.cp / (layout.sequenceParallel ? layout.tp : 1);
    // The fullest rank holds at least the mean; every rank keeps at least one micro-batch's layer inputs.
    return held + (2 * model.hidden * model.streams * tokens * model.layers.length) / layout.pp;
  }

  /** Least seconds of a step: all passes, spread over the stages in proportion to their pace, nothing idle. */
  seconds(layout: Layout): number {
    const again = layout.recompute;
    const key = `${layout.tp}/${layout.cp}/${layout.ep}/${layout.etp}/${layout.contextParallel}/${layout.schedule === "dualpipev"}/${
      again.kind === "selective"
        ? again.regions.join()
        : `${again.kind}${again.kind === "full" ? (again.layers ?? "") : ""}`
    }`;
    let work = this.#work.get(key);
    if (work === undefined) {
      // Ranks of each group take their part of the work at their own pace: paces add up.
      const pace = this.#homes.reduce(
        (sum, home, i) => sum + (this.#shares[i] as number) / this.#passes(layout, home),
        0,
      );
      work = 1 / pace;
      this.#work.set(key, work);
    }
    return (work * microBatches(layout, this.#stages.training)) / layout.pp;
  }

  /** A guess at the step for ordering: the bound, the schedule's closed-form bubble, and swap. Not a bound. */
  guess(layout: Layout, bound: number): number {
    const { training } = this.#stages;
    const micros = microBatches(layout, training);
    const share =
      layout.schedule === "zbv" || layout.schedule === "dualpipev"
        ? 0.35
        : layout.schedule === "zbh1"
          ? 0.5
          : 1;
    const bubble = (share * (layout.pp - 1)) / (micros * (share === 1 ? layout.vpp : 1));
    let swap = 0;
    if (layout.offload.optimizer > 0) {
      const sizes = this.#sizesOf(layout);
      const owned =
        sizes.dense / (layout.dpShard * layout.cp) +
        sizes.expert / Math.max(1, expertData(layout) / layout.dpReplicate);
      const host = this.#homes[0]?.device.hostBandwidth ?? 1e10;
      swap = (owned * 12 * layout.offload.optimizer) / layout.pp / host;
    }
    return bound * (1 + bubble) + swap;
  }

  #passes(layout: Layout, home: StageHome): number {
    const { model } = this.#stages;
    const whole: Layout = {
      ...layout,
      pp: 1,
      vpp: 1,
      schedule: "1f1b",
      stages: [model.layers.map((_, i) => i)],
    };
    const full = layout.recompute.kind === "full" && layout.recompute.layers !== undefined;
    const terms = this.#stages.stageTerms(full ? { ...whole, recompute: { kind: "none" } } : whole, [home]);
    const costs = this.#stages.costs(whole, terms, [home]);
    const seconds = (costs.forward[0] as number) + (costs.backward[0] as number);
    const hidden =
      layout.schedule === "dualpipev"
        ? (costs.forwardComm[0] as number) + (costs.backwardComm[0] as number)
        : 0;
    return seconds - hidden;
  }

  #sizesOf(layout: Layout): Sizes {
    const key = (layout.tp * 4096 + layout.ep) * 64 + layout.etp;
    let known = this.#sizes.get(key);
    if (!known) {
      let dense = 0;
      let expert = 0;
      const add = (weights: readonly Weight[], times: number) => {
        for (const weight of weights) {
          if (!weight.trained) continue;
          const size = elements(weight) * times;
          if (weight.cut.kind === "expert")
            expert += size / (layout.ep * (weight.cut.dim === null ? 1 : layout.etp));
          else dense += weight.cut.kind === "tensor" ? size / layout.tp : size;
        }
      };
      const { model } = this.#stages;
      add(model.embedding.weights, 1);
      add(model.head.weights, 1);
      for (const [body, count] of this.#bodies) add(bodyWeights(body), count);
      known = { dense, expert };
      this.#sizes.set(key, known);
    }
    return known;
  }
}

const ONE = { pp: 1, tp: 1, cp: 1, dpReplicate: 1, dpShard: 1 };

/** Largest memory of one device in the cluster. */
export const largestMemory = (cluster: Cluster): number =>
  Math.max(...cluster.groups.map((group) => group.device.memoryBytes));
