import type { Cluster, NodeGroup } from "../../cluster/index.ts";
import type { Model } from "../../model/index.ts";
import { evenStages, type Layout, stageRank, stageRanks, type Training } from "../layout.ts";
import type { MemoryReport } from "../memory/types.ts";
import { stageHomes, type StageHome, type StepTime, TimeModel, type Traits } from "../time/index.ts";
import type { ConstraintName, Engine } from "./problems.ts";
import { largestMemory, QuickBounds } from "./quick.ts";
import { type Candidate, candidates, type Constraints } from "./space.ts";
import { splitStages } from "./split.ts";

/** Predicts memory of a layout; injected so that the search does not depend on how. */
export type MemoryModel = (
  model: Model,
  layout: Layout,
  training: Training,
  engine: Engine,
  homes: readonly StageHome[],
) => MemoryReport;

export type SearchRequest = {
  readonly model: Model;
  readonly cluster: Cluster;
  readonly training: Training;
  readonly traits: Traits;
  readonly constraints: Constraints;
  readonly world: number;
  readonly memory: MemoryModel;
  /** Share of a device's memory kept free. */
  readonly margin: number;
  /** Most layouts simulated. */
  readonly simulate: number;
  /** Stop simulating when no remaining layout can beat the best one (default); false fills `simulate` for the list. */
  readonly prune?: boolean;
};

export type Found = {
  readonly layout: Layout;
  readonly training: Training;
  readonly time: StepTime;
  readonly memory: MemoryReport;
  /** Bytes left on the fullest device after everything, margin not deducted. */
  readonly free: number;
};

export type Rejected = {
  readonly layout: Layout;
  readonly microBatch: number;
  readonly constraint: ConstraintName;
  /** Bytes short for memory; least seconds for slower. */
  readonly amount: number;
};

export type SearchResult = {
  /** Fastest first. */
  readonly found: readonly Found[];
  readonly rejected: readonly Rejected[];
  readonly considered: number;
  readonly simulated: number;
  /** Least seconds any layout left out could take; the winner is optimal when its own are not above. */
  readonly leftBound: number;
  /** Fewest bytes that any layout needs on its fullest device, for the case that none fits. */
  readonly nearest?: { readonly layout: Layout; readonly microBatch: number; readonly short: number };
};

export function search(request: SearchRequest): SearchResult {
  const { model, cluster, training, traits, constraints, margin } = request;
  const times = new Map<number, { time: TimeModel; quick: QuickBounds }>();
  const of = (microBatch: number) => {
    let made = times.get(microBatch);
    if (!made) {
      const time = new TimeModel(model, cluster, { ...training, microBatch }, traits);
      made = { time, quick: new QuickBounds(time.stages) };
      times.set(microBatch, made);
    }
    return made;
  };
  const room = largestMemory(cluster) * (1 - margin);
  const rejected: Rejected[] = [];
  const open: (Candidate & { bound: number })[] = [];
  let nearest: SearchResult["nearest"];
  const short = (layout: Layout, microBatch: number, by: number) => {
    if (!nearest || by < nearest.short) nearest = { layout, microBatch, short: by };
  };
  let considered = 0;
  for (const candidate of candidates(model, cluster, training, request.world, constraints)) {
    considered++;
    const { quick } = of(candidate.microBatch);
    const bytes = quick.bytes(candidate.layout);
    if (bytes > room) {
      rejected.push({ ...candidate, constraint: "memory", amount: bytes - room });
      short(candidate.layout, candidate.microBatch, bytes - room);
    } else open.push({ ...candidate, bound: quick.seconds(candidate.layout) });
  }
  open.sort((a, b) => a.bound - b.bound);
  const found: Found[] = [];
  let best = Number.POSITIVE_INFINITY;
  let simulated = 0;
  let leftBound = Number.POSITIVE_INFINITY;
  for (const candidate of open) {
    const { time } = of(candidate.microBatch);
    const chosen = { ...training, microBatch: candidate.microBatch };
    if (simulated >= request.simulate || (request.prune !== false && candidate.bound > best)) {
      leftBound = Math.min(leftBound, candidate.bound);
      rejected.push({ ...candidate, constraint: "slower", amount: candidate.bound });
      continue;
    }
    const homes = stageHomes(cluster, candidate.layout);
    let worst: { short: number; host: boolean } | undefined;
    let fitted: { layout: Layout; memory: MemoryReport; free: number } | undefined;
    for (const stages of splits(time, candidate.layout, homes)) {
      const layout = { ...candidate.layout, stages };
      const memory = request.memory(model, layout, chosen, constraints.engine, homes);
      const fit = fits(memory, layout, homes, margin);
      if (fit.short <= 0) {
        fitted = { layout, memory, free: fit.free };
        break;
      }
      if (!worst || fit.short < worst.short) worst = fit;
    }
    if (!fitted) {
      const by = worst?.short ?? 0;
      rejected.push({ ...candidate, constraint: worst?.host ? "hostMemory" : "memory", amount: by });
      short(candidate.layout, candidate.microBatch, by);
      continue;
    }
    simulated++;
    const step = time.step(fitted.layout);
    best = Math.min(best, step.seconds);
    found.push({
      layout: fitted.layout,
      training: chosen,
      time: step,
      memory: fitted.memory,
      free: fitted.free,
    });
  }
  found.sort((a, b) => a.time.seconds - b.time.seconds);
  return { found, rejected, considered, simulated, leftBound, ...(nearest ? { nearest } : {}) };
}

/** Stage splits worth trying, fastest first: balanced by time, then by count. */
export function* splits(time: TimeModel, layout: Layout, homes: readonly StageHome[]): Generator<number[][]> {
  const count = layout.pp * layout.vpp;
  if (count === 1) {
    yield evenStages(time.stages.model.layers.length, 1);
    return;
  }
  const balanced = balancedStages(time, layout, homes);
  if (balanced) yield balanced;
  const even = evenStages(time.stages.model.layers.length, count);
  if (!balanced || even.some((stage, i) => stage.length !== balanced[i]?.length)) yield even;
}

export function balancedStages(
  time: TimeModel,
  layout: Layout,
  homes: readonly StageHome[],
  most?: (stage: number) => number,
): number[][] | undefined {
  const { stages: model } = time;
  const { layers, mtp } = model.model;
  const full = layout.recompute.kind === "full";
  const at = homes.map((home) => model.costsAt(layout, home));
  const seconds = (what: Parameters<(typeof at)[number]>[0], stage: number) => {
    const cost = (at[stageRank(layout, stage)] as (typeof at)[number])(what);
    return cost.forwardSeconds * (full ? 2 : 1) + cost.backwardSeconds;
  };
  const count = layout.pp * layout.vpp;
  const perStage = Array.from({ length: count }, (_, stage) => {
    const seen = new Map<unknown, number>();
    return layers.map(({ body }) => {
      let value = seen.get(body);
      if (value === undefined) {
        value = seconds(body, stage);
        seen.set(body, value);
      }
      return value;
    });
  });
  const extra = Array.from({ length: count }, (_, stage) => {
    let sum = stage === 0 ? seconds("embedding", stage) : 0;
    if (stage === count - 1) {
      sum += seconds("head", stage);
      if (model.training.mtp)
        for (const { body } of mtp) sum += seconds(body, stage) + seconds("head", stage);
    }
    return sum;
  });
  return splitStages({
    layers: layers.length,
    stages: count,
    cost: (layer, stage) => (perStage[stage] as number[])[layer] as number,
    extra: (stage) => extra[stage] as number,
    ...(most ? { most } : {}),
  });
}

/** Whether every rank fits its own device, and every node its host memory. `short` > 0 says by how much it does not. */
export function fits(
  memory: MemoryReport,
  layout: Layout,
  homes: readonly StageHome[],
  margin: number,
): { short: number; free: number; host: boolean } {
  let short = Number.NEGATIVE_INFINITY;
  let free = Number.POSITIVE_INFINITY;
  let host = false;
  for (const { ppRank, memory: rank } of memory.classes) {
    const home = homes[ppRank] as StageHome;
    const used = rank.reserved + rank.framework;
    free = Math.min(free, home.device.memoryBytes - used);
    short = Math.max(short, used - home.device.memoryBytes * (1 - margin));
    const group: NodeGroup = home.group;
    const onNode = Math.min(group.devicesPerNode, stageRanks(layout));
    const over = (rank.host * onNode - group.hostMemoryBytes * 0.9) / onNode;
    if (over > 0 && over > short) {
      short = over;
      host = true;
    }
  }
  return { short, free, host };
}
