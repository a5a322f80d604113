import type { Text } from "../../base/index.ts";
import { evenStages, type Layout, stageRank, type Training } from "../layout.ts";
import type { MemoryReport } from "../memory/types.ts";
import { stageHomes, type StageHome, TimeModel } from "../time/index.ts";
import type { ConstraintName, Problem } from "./problems.ts";
import { fits, type Found, type SearchRequest } from "./found.ts";
import { largestMemory, QuickBounds } from "./quick.ts";
import { shifted } from "./shift.ts";
import { type Candidate, candidates } from "./space.ts";
import { splitStages } from "./split.ts";

export type Rejected = {
  readonly layout: Layout;
  readonly microBatch: number;
  readonly constraint: ConstraintName;
  /** Bytes short for memory; least seconds for slower. */
  readonly amount: number;
  /** Its memory was predicted, so `amount` is what it lacks; else a bound. */
  readonly exact?: true;
};

export type Illegal = { count: number; readonly example: Candidate; readonly detail: Text };

export type SearchResult = {
  /** Fastest first. */
  readonly found: readonly Found[];
  readonly rejected: readonly Rejected[];
  /** Combinations of degrees that break a rule, by the first rule broken. They are not counted in `considered`. */
  readonly illegal: ReadonlyMap<ConstraintName, Illegal>;
  readonly considered: number;
  readonly simulated: number;
  /** Least seconds any layout left out could take; the winner is optimal when its own are not above. */
  readonly leftBound: number;
  /** Seconds of the best layout on every device, where the ones found leave some out because that is faster. */
  readonly whole?: number;
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
  const largest = largestMemory(cluster) * (1 - margin);
  const room = new Room(request);
  const rejected: Rejected[] = [];
  const open: (Candidate & { bound: number; guess: number })[] = [];
  let nearest: SearchResult["nearest"];
  const short = (layout: Layout, microBatch: number, by: number) => {
    if (!nearest || by < nearest.short) nearest = { layout, microBatch, short: by };
  };
  let considered = 0;
  const illegal = new Map<ConstraintName, Illegal>();
  const broken = (example: Candidate, { constraint, detail }: Problem) => {
    const known = illegal.get(constraint);
    if (known) known.count++;
    else illegal.set(constraint, { count: 1, example, detail });
  };
  for (const candidate of candidates(model, cluster, training, request.world, constraints, broken)) {
    considered++;
    const { quick } = of(candidate.microBatch);
    const bytes = quick.bytes(candidate.layout);
    if (bytes > largest && request.filter !== false) {
      const { layout, microBatch } = candidate;
      rejected.push({ layout, microBatch, constraint: "memory", amount: bytes - largest });
      short(candidate.layout, candidate.microBatch, bytes - largest);
    } else {
      const bound = quick.seconds(candidate.layout);
      const { layout, microBatch } = candidate;
      open.push({ layout, microBatch, bound, guess: quick.guess(layout, bound) });
    }
  }
  // Likely winners first, so that their times discard the rest by bound alone.
  open.sort((a, b) => a.guess - b.guess);
  const found: Found[] = [];
  let best = Number.POSITIVE_INFINITY;
  let simulated = 0;
  let leftBound = Number.POSITIVE_INFINITY;
  for (const candidate of open) {
    const { layout, microBatch } = candidate;
    if (simulated >= request.simulate || (request.prune !== false && candidate.bound > best)) {
      leftBound = Math.min(leftBound, candidate.bound);
      rejected.push({ layout, microBatch, constraint: "slower", amount: candidate.bound });
      continue;
    }
    const { time } = of(microBatch);
    const homes = stageHomes(cluster, layout);
    const tried = room.tryLayout(candidate, time, homes);
    if (!tried.fitted) {
      rejected.push({
        layout,
        microBatch,
        constraint: tried.host ? "hostMemory" : "memory",
        amount: tried.short,
        ...(tried.bound ? {} : { exact: true as const }),
      });
      short(layout, microBatch, tried.short);
      continue;
    }
    const { fitted } = tried;
    simulated++;
    const step = time.step(fitted.layout);
    best = Math.min(best, step.seconds);
    found.push({
      layout: fitted.layout,
      training: { ...training, microBatch },
      time: step,
      memory: fitted.memory,
      free: fitted.free,
    });
  }
  const sort = () => found.sort((a, b) => a.time.seconds - b.time.seconds);
  sort();
  if (cluster.groups.length > 1) {
    const shapes = new Map<string, number>();
    for (const [i, one] of found.entries()) {
      // How much a layout gains depends on its pipeline, so each kind has its turn.
      const { pp, vpp, schedule } = one.layout;
      const shape = `${pp}/${vpp}/${schedule}`;
      const turns = shapes.get(shape) ?? 0;
      shapes.set(shape, turns + 1);
      if (i < SHIFTED || (turns < SHIFTED_OF_SHAPE && one.time.seconds < HOPELESS * best))
        found[i] = shifted(one, request, of(one.training.microBatch).time);
    }
    sort();
  }
  return { found, rejected, illegal, considered, simulated, leftBound, ...(nearest ? { nearest } : {}) };
}

/** Layouts of a mixed cluster whose stages are settled layer by layer: the first ones, and the first of each kind of pipeline. */
const SHIFTED = 8;
const SHIFTED_OF_SHAPE = 2;
/** Settled layers have made a step up to a fifth shorter; what is slower by more than this is left alone. */
const HOPELESS = 1.3;

type Tried = {
  readonly fitted?: { readonly layout: Layout; readonly memory: MemoryReport; readonly free: number };
  readonly short: number;
  readonly host: boolean;
  /** `short` is what a more frugal layout lacks. */
  readonly bound?: true;
};

/**
 * Memory checks of one search. Layouts that differ only in recomputation, swap and micro-batch form a family: when the most
 * frugal member does not fit, none does, so one prediction answers for all of them.
 */
class Room {
  readonly #request: SearchRequest;
  readonly #families = new Map<string, number>();

  constructor(request: SearchRequest) {
    this.#request = request;
  }

  tryLayout(candidate: Candidate, time: TimeModel, homes: readonly StageHome[]): Tried {
    const { layout } = candidate;
    const key = `${layout.pp}/${layout.vpp}/${layout.tp}/${layout.cp}/${layout.contextParallel}/${layout.ep}/${layout.etp}/${layout.dpReplicate}/${layout.zero}/${layout.schedule}`;
    let least = this.#families.get(key);
    if (least === undefined) {
      const { constraints, training } = this.#request;
      const frugal: Layout = {
        ...layout,
        recompute: constraints.recompute?.at(-1) ?? { kind: "full" },
        offload: {
          ...layout.offload,
          optimizer: Math.max(
            ...(constraints.optimizerOffload ?? [constraints.engine === "tessera" ? 0 : 1]),
          ),
        },
      };
      const microBatch = Math.min(...(constraints.microBatch ?? [1]));
      const tried = this.#fit(frugal, { ...training, microBatch }, time, homes);
      // Host memory grows with frugality, so only device memory speaks for the family.
      least = tried.fitted || tried.host ? 0 : tried.short;
      this.#families.set(key, least);
    }
    if (least > 0) return { short: least, host: false, bound: true };
    return this.#fit(layout, { ...this.#request.training, microBatch: candidate.microBatch }, time, homes);
  }

  #fit(layout: Layout, training: Training, time: TimeModel, homes: readonly StageHome[]): Tried {
    const { model, memory, constraints, margin } = this.#request;
    let worst = { short: Number.POSITIVE_INFINITY, host: false };
    let best: { tried: Tried; seconds: number } | undefined;
    const attempt = (stages: number[][]): Tried & { readonly report: MemoryReport } => {
      const whole = { ...layout, stages };
      const report = memory(model, whole, training, constraints.engine, homes, time.stages.traits);
      const fit = fits(report, whole, homes, margin);
      if (fit.short < worst.short) worst = fit;
      return fit.short <= 0
        ? { fitted: { layout: whole, memory: report, free: fit.free }, short: 0, host: false, report }
        : { ...fit, report };
    };
    for (const stages of splits(time, layout, homes)) {
      let tried = attempt(stages);
      // Mixed devices: where a rank overflows, cap its layers by what its memory holds and balance the rest again.
      for (let round = 0; round < 3 && !tried.fitted && this.#request.cluster.groups.length > 1; round++) {
        const caps = layerCaps({ ...layout, stages }, tried.report, homes, margin, 1 - 0.06 * round);
        const again = balancedStages(
          time,
          layout,
          homes,
          (stage) => caps[stageRank(layout, stage)] as number,
        );
        if (!again) break;
        tried = attempt(again);
      }
      if (!tried.fitted) continue;
      if (this.#request.cluster.groups.length === 1) return tried;
      // On mixed devices a capped split may be slower than the even one, so all that fit are timed.
      const { seconds } = time.step(tried.fitted.layout);
      if (!best || seconds < best.seconds) best = { tried, seconds };
    }
    if (best) return best.tried;
    return worst;
  }
}

/** Layers a virtual stage of each pipeline rank may hold, in proportion to how full the rank would be. */
function layerCaps(
  layout: Layout,
  report: MemoryReport,
  homes: readonly StageHome[],
  margin: number,
  careful: number,
): number[] {
  const layers = Array.from({ length: layout.pp }, () => 0);
  layout.stages.forEach((stage, s) => {
    const rank = stageRank(layout, s);
    layers[rank] = (layers[rank] as number) + stage.length;
  });
  const caps = Array.from({ length: layout.pp }, () => Number.POSITIVE_INFINITY);
  for (const { ppRank, memory } of report.classes) {
    const room = (homes[ppRank] as StageHome).device.memoryBytes * (1 - margin) - memory.framework;
    const allowed = ((layers[ppRank] as number) * room * careful) / memory.reserved;
    caps[ppRank] = Math.min(caps[ppRank] as number, Math.floor(allowed / layout.vpp));
  }
  return caps;
}

/** Stage splits worth trying, fastest first: balanced by time, then by count. */
export function* splits(time: TimeModel, layout: Layout, homes: readonly StageHome[]): Generator<number[][]> {
  const count = layout.pp * layout.vpp;
  if (count === 1) {
    yield evenStages(time.stages.model.layers.length, 1);
    return;
  }
  const byTime = balancedStages(time, layout, homes);
  if (byTime) yield byTime;
  const even = intern(evenStages(time.stages.model.layers.length, count));
  if (!byTime || even.some((stage, i) => stage.length !== byTime[i]?.length)) yield even;
}

/** Splits by their counts, so that equal splits are one array and what is remembered of one holds for all. */
const interned = new Map<string, number[][]>();
function intern(split: number[][]): number[][] {
  const key = split.map((layers) => layers.length).join();
  const known = interned.get(key) ?? split;
  interned.set(key, known);
  return known;
}

const balanced = new WeakMap<TimeModel, Map<string, number[][] | undefined>>();

/** Layers over stages by time; what does not change a layer's time shares one answer (and its identity) within a search. */
export function balancedStages(
  time: TimeModel,
  layout: Layout,
  homes: readonly StageHome[],
  most?: (stage: number) => number,
): number[][] | undefined {
  if (most) return balance(time, layout, homes, most);
  let known = balanced.get(time);
  if (!known) {
    known = new Map();
    balanced.set(time, known);
  }
  const l = layout;
  const key = `${l.pp}/${l.vpp}/${l.schedule}/${l.tp}/${l.cp}/${l.ep}/${l.etp}/${l.dpShard}/${l.dpReplicate}/${l.sequenceParallel}/${l.contextParallel}/${l.recompute.kind === "full"}`;
  if (!known.has(key)) {
    const split = balance(time, layout, homes);
    known.set(key, split && intern(split));
  }
  return known.get(key);
}

function balance(
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
