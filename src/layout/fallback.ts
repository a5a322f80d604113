import { type Cluster, clusterDevices } from "../cluster/index.ts";
import { type Layout, paddedSequences, worldOf } from "./layout.ts";
import { type MoveCost, moveCost } from "./move.ts";
import { type Plan, type PlanRequest, runSearch } from "./plan.ts";
import { type Found, layoutName } from "./search/index.ts";

/** What to run when nodes are gone, ready before they go. */
export type FallbackPlan = {
  readonly lostNodes: number;
  readonly devices: number;
  /** Devices that the plan uses; the others wait as spares. */
  readonly world: number;
  readonly name: string;
  readonly layout: Layout;
  readonly microBatch: number;
  /** Empty sequences added to the batch so that it divides over the ranks that are left; the gradient is the same. */
  readonly emptySequences: number;
  readonly seconds: number;
  /** Tokens/s against the full plan's. */
  readonly speed: number;
  /** From the full plan to this one, and back when the nodes return. */
  readonly shrink: MoveCost;
  readonly grow: MoveCost;
};

/**
 * Plans for 1 to `most` lost nodes. Which nodes fail is unknown, so the costs are for the last ones; any others change the numbers
 * by one stage's worth at most. A count without a legal layout falls back to the next smaller world.
 */
export const fallbacks = (request: PlanRequest, full: Plan, most = 8): FallbackPlan[] => [
  ...eachFallback(request, full, most),
];

/** Share of the batch that may be empty sequences: what is left after a loss seldom divides it. They cost time, so few win. */
export const PADDING = 0.25;

/** What fewer devices may win by needing less exchange: their step is at least this much of the full plan's work shared out. */
const MORE_EFFICIENT = 0.9;

/** A layout on spare devices is left only for one that takes at most this share of its time. */
const WORTH_MOVING = 0.97;

type Runs = Pick<Found, "layout" | "training"> & { readonly time: Pick<Found["time"], "seconds"> };

/** Worlds looked at for each count of lost nodes: counts that barely divide come first and must not end the look. */
const TRIES = 12;

/** The same one by one, for callers that must answer something else between two searches. */
export function* eachFallback(request: PlanRequest, full: Plan, most = 8): Generator<FallbackPlan> {
  const node = request.cluster.groups.at(-1)?.devicesPerNode ?? 1;
  const known = new Map<number, Found | undefined>();
  // Our own engine has no empty sequences.
  const training =
    request.constraints.engine === "tessera" ? request.training : { ...request.training, padBatch: PADDING };
  const best = (world: number): Found | undefined => {
    if (!known.has(world)) {
      const result = runSearch({
        ...request,
        training,
        constraints: narrow(request, full),
        world,
        simulate: 24,
      });
      known.set(world, result.found[0]);
    }
    return known.get(world);
  };
  for (let lost = 1; lost <= most; lost++) {
    const devices = clusterDevices(request.cluster) - lost * node;
    if (devices < 1) break;
    // Where spares take the place of what is lost, nothing has to move.
    let found: Runs | undefined = devices >= worldOf(full.layout) ? full : undefined;
    // Fewer devices may divide better than more: look at a few worlds below and keep the fastest.
    for (let world = devices, tries = 0; world >= Math.max(1, devices / 2) && tries < TRIES; world -= node) {
      const ideal = (full.time.seconds * worldOf(full.layout)) / world;
      if (found && ideal * MORE_EFFICIENT > found.time.seconds) break;
      const next = best(world);
      if (next) {
        tries++;
        const worth = found === full ? WORTH_MOVING : 1;
        if (!found || next.time.seconds < worth * found.time.seconds) found = next;
      }
    }
    if (!found) continue;
    const bandwidth = { network: networkOf(request.cluster), store: 0.5e9 };
    const alive = Array.from({ length: devices }, (_, i) => i);
    const all = Array.from({ length: worldOf(full.layout) }, (_, i) => i);
    yield {
      lostNodes: lost,
      devices,
      world: worldOf(found.layout),
      name: layoutName(found.layout, found.training.microBatch),
      layout: found.layout,
      microBatch: found.training.microBatch,
      emptySequences: paddedSequences(found.layout, found.training),
      seconds: found.time.seconds,
      speed: full.time.seconds / found.time.seconds,
      shrink: moveCost(request.model, found.training, full.layout, found.layout, alive, bandwidth),
      grow: moveCost(request.model, full.training, found.layout, full.layout, all, bandwidth),
    };
  }
}

/** Keeps what a running job cannot change cheaply, so that hundreds of layouts are looked at instead of ten thousands. */
function narrow(request: PlanRequest, full: Plan): PlanRequest["constraints"] {
  const { tp, cp, contextParallel, etp, zero, offload } = full.layout;
  return {
    ...request.constraints,
    tp: [tp],
    cp: [cp],
    contextParallel: [contextParallel],
    etp: [etp],
    zero: [zero],
    optimizerOffload: [...new Set([offload.optimizer, request.constraints.engine === "tessera" ? 0 : 1])],
    microBatch: halves(full.training.microBatch),
  };
}

/** A micro-batch and its halves: smaller ones divide what is left better, and need no more memory. */
const halves = (size: number): number[] => [size, ...(size % 2 === 0 ? halves(size / 2) : [])];

/** Bytes/s a rank receives with when everything moves at once: the widest level that spans more than a node. */
function networkOf(cluster: Cluster): number {
  const link = cluster.between ?? cluster.groups[0]?.links.at(-1);
  return link ? link.bandwidth * link.efficiency : 1e9;
}
