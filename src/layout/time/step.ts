import type { Cluster, Device } from "../../cluster/index.ts";
import { flopsPerToken, type Model } from "../../model/index.ts";
import { type Layout, microBatches, type Schedule, stageRank, type Training, worldOf } from "../layout.ts";
import {
  buildOrder,
  type Order,
  simulate,
  simulateLong,
  simulateShared,
  type SharedCores,
  type Simulation,
  type StageCosts,
} from "../schedule/index.ts";
import { type StageHome, stageHomes } from "./devices.ts";
import { hiddenExpert, StageModel, type StageTerms } from "./stages.ts";
import { atSustainedClock } from "./power.ts";
import { stageParameters, type StateSeconds, stateSeconds } from "./state.ts";
import {
  addTerms,
  ATTENTION,
  CONTEXT,
  EXPERT,
  FIRST_COMM,
  GROUPED,
  MATRIX,
  noTerms,
  TENSOR,
  total,
  VECTOR,
} from "./terms.ts";
import { offloadedBytes } from "../memory/megatron.ts";
import { expertLoad, type Traits } from "./traits.ts";

/**
 * Where a step's seconds go on one pipeline rank. They add up to the step exactly.
 * - `recompute`: compute done again; its collectives count with theirs;
 * - `pipeline`: sends that nothing hides; `bubble`: waiting for other stages;
 * - `data`: gradient and weight exchange that nothing hides, gathers of ZeRO-3 included; `host`: work of the host alone.
 */
export const STEP_TERMS = [
  "matrix",
  "grouped",
  "attention",
  "vector",
  "recompute",
  "tensor",
  "context",
  "expert",
  "pipeline",
  "bubble",
  "data",
  "optimizer",
  "swap",
  "host",
] as const;
export type StepTerm = (typeof STEP_TERMS)[number];
export type Breakdown = Readonly<Record<StepTerm, number>>;

export type StepTime = {
  readonly seconds: number;
  readonly microBatches: number;
  readonly tokensPerSecond: number;
  readonly tokensPerSecondPerDevice: number;
  /** The pipeline rank that works longest, and what it does. */
  readonly criticalRank: number;
  readonly breakdown: Breakdown;
  /** Share of the step each pipeline rank spends computing or communicating for its passes. */
  readonly busy: readonly number[];
  readonly mfu: Mfu;
  readonly costs: StageCosts;
};

/** Model-FLOP utilisation in the conventions in use. Every figure divides the same seconds; they differ in FLOPs and peak. */
export type Mfu = {
  /** Causal and sparse pairs as computed, head and MTP included, recomputation never, dense bf16 peak. The default. */
  readonly model: number;
  /** Every pair of the sequence counted, as some planners and papers do. */
  readonly fullAttention: number;
  /** 6 x active parameters only, no attention. */
  readonly parametersOnly: number;
  /** Recomputed work counted too (hardware FLOPs). */
  readonly withRecompute: number;
  /** Default FLOPs over the peak of the format that ran. */
  readonly formatPeak: number;
  readonly flopsPerToken: number;
  readonly fullFlopsPerToken: number;
  readonly peakFlops: number;
};

/** Estimates steps of one model on one cluster; keep it for a whole search, it remembers layer costs and orders. */
export class TimeModel {
  readonly stages: StageModel;
  readonly #orders = new Map<string, Order>();

  constructor(model: Model, cluster: Cluster, training: Training, traits: Traits) {
    this.stages = new StageModel(model, cluster, training, traits);
  }

  order(schedule: Schedule, pp: number, vpp: number, micros: number): Order {
    const key = `${schedule}/${pp}/${vpp}/${micros}`;
    let order = this.#orders.get(key);
    if (!order) {
      order = buildOrder(schedule, pp, vpp, micros);
      this.#orders.set(key, order);
    }
    return order;
  }

  /** @param exact simulate every micro-batch instead of extrapolating the steady state of long steps */
  step(layout: Layout, exact = false): StepTime {
    const { model, cluster, training, traits } = this.stages;
    const homes = stageHomes(cluster, layout);
    const share = sharedCores(layout, cluster);
    // Exchange was measured among all ranks of a node, which took turns at it; alone, a rank is done sooner.
    const pace = share ? share.cores / (share.processes * layout.pp) : 1;
    const terms = atSustainedClock(this.stages.stageTerms(layout, homes, pace), layout, homes);
    const parameters = stageParameters(model, layout, training.mtp);
    const states = parameters.map((p, rank) => {
      const state = stateSeconds(p, layout, training, homes[rank] as StageHome, traits.reduceOnce);
      return {
        ...state,
        optimizer: state.optimizer / pace,
        gatherForward: state.gatherForward * pace,
        gatherBackward: state.gatherBackward * pace,
      };
    });
    const gathered = withGathers(this.stages.costs(layout, terms, homes), layout, states, traits);
    const costs = withOffload(gathered, this.stages, layout, homes);
    const micros = microBatches(layout, training);
    const orderOf = (count: number) => this.order(layout.schedule, layout.pp, layout.vpp, count);
    const run = share
      ? simulateShared(orderOf(micros), costs, share)
      : exact
        ? simulate(orderOf(micros), costs)
        : simulateLong(orderOf, costs, micros, layout.pp);
    // Every rank starts its optimizer when its gradients are exchanged; the slowest one ends the step.
    const tails = states.map((state, rank) => this.#tail(state, layout, costs, rank));
    const tail = Math.max(...tails.map((part) => part.data + part.optimizer + part.swap));
    // A measured optimizer step has the host's work of a step in it.
    const host = homes[0]?.device.measured?.optimizer ? 0 : traits.stepSeconds;
    const seconds = run.seconds + tail + host;
    const rank = longest(run);
    const tokens = training.globalBatch * training.sequence;
    return {
      seconds,
      microBatches: micros,
      tokensPerSecond: tokens / seconds,
      tokensPerSecondPerDevice: tokens / seconds / worldOf(layout),
      criticalRank: rank,
      breakdown: this.#breakdown({
        layout,
        terms,
        costs,
        run,
        tail: tails[rank] as Tail,
        rank,
        micros,
        seconds,
        host,
        shared: share !== undefined,
      }),
      busy: Array.from(run.busy, (time) => time / seconds),
      mfu: this.#mfu(layout, terms, seconds, homes),
      costs,
    };
  }

  #tail(state: StateSeconds, layout: Layout, costs: StageCosts, rank: number): Tail {
    const { traits } = this.stages;
    let gradients = state.gradients;
    let weights = state.weights;
    if (traits.overlapData) {
      // The exchange can start when the last micro-batch leaves a layer, and must end before the next one enters it.
      const chunks = layout.stages.flatMap((_, stage) => (stageRank(layout, stage) === rank ? [stage] : []));
      const sum = (times: Float64Array) => chunks.reduce((all, stage) => all + (times[stage] as number), 0);
      const slow = 1 + traits.overlapSlowdown;
      gradients = Math.max(gradients * (1 - 1 / slow), gradients - sum(costs.backward) / slow);
      weights = Math.max(weights * (1 - 1 / slow), weights - sum(costs.forward) / slow);
    }
    return { data: gradients + weights, optimizer: state.optimizer, swap: state.swap };
  }

  #breakdown(of: {
    readonly layout: Layout;
    readonly terms: readonly StageTerms[];
    readonly costs: StageCosts;
    readonly run: Simulation;
    readonly tail: Tail;
    readonly rank: number;
    readonly micros: number;
    readonly seconds: number;
    readonly host: number;
    readonly shared: boolean;
  }): Breakdown {
    const { layout, terms, costs, run, tail, rank, micros, seconds, host } = of;
    const { traits } = this.stages;
    const sum = noTerms();
    let recompute = 0;
    let gathers = 0;
    for (let stage = 0; stage < terms.length; stage++) {
      if (stageRank(layout, stage) !== rank) continue;
      const t = terms[stage] as StageTerms;
      for (const part of [t.forward, t.backward, t.weight, t.recompute]) {
        sum[EXPERT] = (sum[EXPERT] as number) - hiddenExpert(part, traits);
      }
      for (const part of [t.forward, t.backward, t.weight]) addTerms(sum, part);
      recompute += total(t.recompute, FIRST_COMM);
      const comm = t.recompute.slice();
      comm.fill(0, 0, FIRST_COMM);
      addTerms(sum, comm);
    }
    if (layout.zero === 3) {
      const plain = total(sum) + recompute;
      const all = Array.from(costs.forward).reduce(
        (s, value, stage) =>
          s + (stageRank(layout, stage) === rank ? value + (costs.backward[stage] as number) : 0),
        0,
      );
      gathers = Math.max(0, all - plain);
    }
    const alone = (total(sum) + recompute + gathers) * micros;
    // On shared cores all work of a pass takes longer by the same factor.
    const times = of.shared && alone > 0 ? ((run.busy[rank] as number) / alone) * micros : micros;
    const used = (total(sum) + recompute + gathers) * times;
    // Passes that take longer than their work wait for the host: for its launches, or for its memory.
    const waits = layout.zero === 3 ? 0 : Math.max(0, (run.busy[rank] as number) - used);
    const moves = layout.offload.activations.length > 0;
    // What pairing saved is communication that ran behind compute; the rest is what stayed open.
    const saved = Math.max(0, used - (run.busy[rank] as number));
    const open = Math.max(1e-12, (sum[EXPERT] as number) * times);
    const keep = Math.max(0, 1 - saved / open);
    const shown = (index: number) => (sum[index] as number) * times * (index === EXPERT ? keep : 1);
    const parts = {
      matrix: shown(MATRIX),
      grouped: shown(GROUPED),
      attention: shown(ATTENTION),
      vector: shown(VECTOR),
      recompute: recompute * times,
      tensor: shown(TENSOR),
      context: shown(CONTEXT),
      expert: shown(EXPERT),
      pipeline: run.sending[rank] as number,
      bubble: 0,
      data: tail.data + gathers * times,
      optimizer: tail.optimizer,
      swap: tail.swap + (moves ? waits : 0),
      host: host + (moves ? 0 : waits),
    };
    const known = Object.values(parts).reduce((all, value) => all + value, 0);
    return { ...parts, bubble: seconds - known };
  }

  #mfu(layout: Layout, terms: readonly StageTerms[], seconds: number, homes: readonly StageHome[]): Mfu {
    const { model, training, traits } = this.stages;
    const { mtp, sequence } = training;
    const flops = flopsPerToken(model, sequence, { mtp });
    const full = flopsPerToken(model, sequence, { mtp, pairs: "full" }).total;
    const tokens = training.globalBatch * sequence;
    const world = worldOf(layout);
    const peakOf = (of: (device: Device) => number) =>
      homes.reduce((sum, home) => sum + (of(home.device) * world) / homes.length, 0);
    const peakFlops = peakOf((device) => device.peak.bf16);
    const format = peakOf((device) => device.peak[traits.compute] ?? device.peak.bf16);
    const share = (perToken: number, peak: number) => (perToken * tokens) / seconds / peak;
    // Recomputed share of the forward pass, by time; a forward is a third of the model's FLOPs.
    const again = terms.reduce((sum, t) => sum + total(t.recompute, VECTOR), 0);
    const forward = terms.reduce((sum, t) => sum + total(t.forward, VECTOR), 0);
    return {
      model: share(flops.total, peakFlops),
      fullAttention: share(full, peakFlops),
      parametersOnly: share(flops.linear, peakFlops),
      withRecompute: share(flops.total * (1 + (forward > 0 ? again / forward / 3 : 0)), peakFlops),
      formatPeak: share(flops.total, format),
      flopsPerToken: flops.total,
      fullFlopsPerToken: full,
      peakFlops: peakFlops / world,
    };
  }
}

/** The cores that ranks share where there are more ranks than cores (CPU processes). */
function sharedCores(layout: Layout, cluster: Cluster): SharedCores | undefined {
  const group = cluster.groups[0];
  if (group?.cores === undefined) return undefined;
  const ranks = Math.min(worldOf(layout), group.devicesPerNode);
  return ranks <= group.cores ? undefined : { cores: group.cores, processes: ranks / layout.pp };
}

type Tail = { readonly data: number; readonly optimizer: number; readonly swap: number };

function longest(run: Simulation): number {
  let rank = 0;
  for (let r = 1; r < run.busy.length; r++) {
    const time = (run.busy[r] as number) + (run.sending[r] as number);
    if (time > (run.busy[rank] as number) + (run.sending[rank] as number)) rank = r;
  }
  return rank;
}

/** Activations go to the host behind the forward pass and come back behind the backward pass; a pass waits for the slower one. */
function withOffload(
  costs: StageCosts,
  { model, training, traits }: StageModel,
  layout: Layout,
  homes: readonly StageHome[],
): StageCosts {
  if (layout.offload.activations.length === 0) return costs;
  const load = expertLoad(traits, layout.ep).slowest;
  const moving = offloadedBytes(model, layout, training, load, traits).map(
    (bytes, stage) => bytes / (homes[stageRank(layout, stage)] as StageHome).device.hostBandwidth,
  );
  const open = (work: number, stage: number) => Math.max(work, moving[stage] as number);
  return { ...costs, forward: costs.forward.map(open), backward: costs.backward.map(open) };
}

/** ZeRO-3 gathers weights for every pass: what compute does not hide is added to the pass. */
function withGathers(
  costs: StageCosts,
  layout: Layout,
  states: readonly StateSeconds[],
  traits: Traits,
): StageCosts {
  if (layout.zero !== 3 || states.every((s) => s.gatherForward + s.gatherBackward === 0)) return costs;
  const chunks = layout.stages.length / layout.pp;
  const open = (work: number, gather: number) =>
    traits.overlapData
      ? Math.max(work, gather) + traits.overlapSlowdown * Math.min(work, gather)
      : work + gather;
  return {
    ...costs,
    forward: costs.forward.map((work, stage) =>
      open(work, (states[stageRank(layout, stage)] as StateSeconds).gatherForward / chunks),
    ),
    backward: costs.backward.map((work, stage) =>
      open(work, (states[stageRank(layout, stage)] as StateSeconds).gatherBackward / chunks),
    ),
  };
}
