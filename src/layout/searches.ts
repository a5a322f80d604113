import { type Cluster, clusterDevices, groupDevices } from "../cluster/index.ts";
import type { PlanRequest } from "./plan.ts";
import { predictMemory } from "./predict.ts";
import { search, type SearchResult } from "./search/index.ts";
import { engineTraits } from "./time/index.ts";

const MARGIN = 0.04;

/** Layouts simulated for one of several counts of devices. */
const FEW = 24;

/** Share of the devices that a plan uses at least, of counts near all of them and of round ones. */
const LEAST = 0.75;
const LEAST_ROUND = 0.5;

/**
 * The search over all devices, and over fewer where that may be faster so that the rest waits as spares: over the leading groups of a
 * mixed cluster, for the case that a slow link or device costs more than it brings; and over rounder counts, because 496 devices have
 * fewer layouts than 480 have. Where none of them allows a layout, any count a little below does.
 */
export function searchAll(request: PlanRequest): SearchResult {
  const all = runSearch(request);
  if (request.world !== undefined) return all;
  const whole = all.found[0]?.time.seconds;
  const fewer = bestLeading(request, whole) ?? bestRound(request, whole);
  if (fewer) return fewer;
  // Where a layout is legal but its target has no word for it, fewer devices are no help.
  if (all.found.length > 0 || all.nearest || all.illegal.has("target")) return all;
  const devices = clusterDevices(request.cluster);
  const node = nodeOf(request);
  // One node less at a time; of a very large cluster the round counts only, which are the likelier ones.
  const coarse = 2 ** Math.max(0, Math.ceil(Math.log2(devices / node / 1024)));
  const step = coarse * node;
  const first = coarse === 1 ? devices - node : Math.ceil(devices / step - 1) * step;
  const worlds: number[] = [];
  for (let world = first; world >= LEAST * devices && world > 0; world -= step) worlds.push(world);
  return bestOf(request, worlds, 8) ?? all;
}

const nodeOf = ({ cluster }: PlanRequest): number => cluster.groups.at(-1)?.devicesPerNode ?? 1;

/** The search over the leading groups that are faster than all (`whole` seconds) and than any other number of them. */
function bestLeading(request: PlanRequest, whole?: number): SearchResult | undefined {
  let best: { result: SearchResult; seconds: number } | undefined;
  let world = 0;
  for (const group of request.cluster.groups.slice(0, -1)) {
    world += groupDevices(group);
    const result = runSearch({ ...request, world });
    const seconds = result.found[0]?.time.seconds ?? Number.POSITIVE_INFINITY;
    if (seconds < (best?.seconds ?? whole ?? Number.POSITIVE_INFINITY)) best = { result, seconds };
  }
  return best && (whole === undefined ? best.result : { ...best.result, whole });
}

/** The search over fewer, rounder devices that is faster than over all of them. */
function bestRound(request: PlanRequest, whole?: number): SearchResult | undefined {
  const best = bestOf(request, rounderWorlds(clusterDevices(request.cluster), nodeOf(request)));
  const seconds = best?.found[0]?.time.seconds ?? Number.POSITIVE_INFINITY;
  if (!best || seconds >= (whole ?? Number.POSITIVE_INFINITY)) return undefined;
  return whole === undefined ? best : { ...best, whole };
}

/** Counts of whole nodes below all of them that divide better than every larger one: of 496 these are 480, 448, 384 and 256. */
export function rounderWorlds(devices: number, node: number): number[] {
  const odd = (n: number): number => (n % 2 === 0 ? odd(n / 2) : n);
  const worlds: number[] = [];
  let least = odd(devices);
  for (let world = devices - node; world >= LEAST_ROUND * devices && world > 0; world -= node) {
    if (odd(world) >= least) continue;
    least = odd(world);
    worlds.push(world);
  }
  return worlds;
}

/** The whole search of the count that a short one finds fastest, after at most `tries` counts that have a layout. */
function bestOf(request: PlanRequest, worlds: readonly number[], tries = worlds.length) {
  let best: { world: number; seconds: number } | undefined;
  let legal = 0;
  for (const world of worlds) {
    if (legal >= tries) break;
    const simulate = Math.min(FEW, request.simulate ?? FEW);
    const found = runSearch({ ...request, world, simulate }).found[0];
    if (!found) continue;
    legal++;
    if (!best || found.time.seconds < best.seconds) best = { world, seconds: found.time.seconds };
  }
  return best && runSearch({ ...request, world: best.world });
}

export function runSearch(request: PlanRequest, prune = true, filter = true): SearchResult {
  const world = request.world ?? clusterDevices(request.cluster);
  return search({
    model: request.model,
    cluster: leadingNodes(request.cluster, world),
    training: request.training,
    traits: engineTraits(request.constraints.engine, request.training, request.traits),
    constraints: request.constraints,
    world,
    memory: request.memory ?? predictMemory,
    margin: request.margin ?? MARGIN,
    simulate: request.simulate ?? 800,
    prune,
    filter,
  });
}

/** The nodes on which the first `world` ranks lie: bounds must not count the pace of devices that take no part. */
function leadingNodes(cluster: Cluster, world: number): Cluster {
  let left = world;
  const groups = cluster.groups.flatMap((group) => {
    const nodes = Math.min(group.nodes, Math.ceil(left / group.devicesPerNode));
    left -= groupDevices(group);
    return nodes > 0 ? [nodes === group.nodes ? group : { ...group, nodes }] : [];
  });
  return groups.length === cluster.groups.length && groups.every((group, i) => group === cluster.groups[i])
    ? cluster
    : { ...cluster, groups };
}
