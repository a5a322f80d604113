import { err, formatBytes, formatSeconds, ok, type Result, type Text } from "../base/index.ts";
import { type Cluster, clusterDevices } from "../cluster/index.ts";
import { countParameters, type Model } from "../model/index.ts";
import { layoutFail } from "./errors.ts";
import { formatFault } from "./formats.ts";
import { type Layout, type Training, worldOf } from "./layout.ts";
import { predictMemory } from "./predict.ts";
export { runSearch, searchAll } from "./searches.ts";
import type { MemoryReport } from "./memory/types.ts";
import type { RoutingLoad } from "./memory/imbalance.ts";
import {
  type Constraints,
  difference,
  type Found,
  groupRejected,
  layoutName,
  type MemoryModel,
  type RejectedGroup,
  type SearchResult,
  whyBest,
  whySlower,
} from "./search/index.ts";
import { runSearch, searchAll } from "./searches.ts";
import {
  type Breakdown,
  engineTraits,
  expertLoad,
  stageHomes,
  type StepTime,
  type Traits,
} from "./time/index.ts";

export type PlanRequest = {
  readonly model: Model;
  readonly cluster: Cluster;
  readonly training: Training;
  readonly constraints: Constraints;
  /** Devices to use; absent: all of the cluster. */
  readonly world?: number;
  readonly traits?: Partial<Traits>;
  /** Share of device memory kept free (default 0.04). */
  readonly margin?: number;
  /** Alternatives listed (default 10) and layouts simulated at most (default 800: enough to prove the winner the fastest in most questions). */
  readonly alternatives?: number;
  readonly simulate?: number;
  /** When nothing fits, search how many devices would do (default); false answers at once. */
  readonly advise?: boolean;
  /** Another memory predictor, for tests. */
  readonly memory?: MemoryModel;
};

/** A time without what only the simulation needs. */
export type PlannedTime = Omit<StepTime, "costs">;

export type Alternative = {
  readonly name: string;
  readonly layout: Layout;
  readonly microBatch: number;
  readonly seconds: number;
  /** Seconds per term beyond the winner; they add up to the difference. */
  readonly difference: Breakdown;
  readonly free: number;
  readonly why: Text;
};

export type Plan = {
  readonly schema: "tessera.plan/v1";
  readonly name: string;
  readonly model: { readonly name: string; readonly parameters: number; readonly active: number };
  readonly cluster: { readonly name: string; readonly devices: number };
  readonly engine: Constraints["engine"];
  readonly layout: Layout;
  /** As asked, with the chosen micro-batch. */
  readonly training: Training;
  /** How the stack is taken to compute and overlap. */
  readonly traits: Traits;
  /** Format of products where it is not the one of the weights. */
  readonly products?: "fp8" | "fp4";
  /** A dispatcher that sends a token once to a rank and a node, where `traits` has one. */
  readonly dispatcher?: "flex";
  readonly time: PlannedTime;
  readonly memory: MemoryReport;
  /** Bytes left on the fullest device. */
  readonly free: number;
  /** With recorded loads: what the fullest device needs (bytes) where its expert rank is the median one, and at the 99th percentile. */
  readonly routed?: RoutingLoad & { readonly bytes: { readonly p50: number; readonly p99: number } };
  readonly why: readonly Text[];
  readonly alternatives: readonly Alternative[];
  readonly rejected: readonly RejectedGroup[];
  readonly searched: { readonly considered: number; readonly simulated: number; readonly optimal: boolean };
};

/**
 * The fastest layout that fits, what lies where, and why the others lost.
 *
 * @example
 * const plan = unwrap(plan({ model, cluster: presetCluster("cpu", 4), training, constraints: { engine: "tessera" } }));
 * plan.layout.pp; plan.memory.classes; plan.alternatives[0].why.en;
 * // errors: PLAN_NO_LAYOUT (nothing legal), PLAN_NO_ROOM (by how much, and what would make it fit)
 */
export function plan(request: PlanRequest): Result<Plan> {
  return planFrom(request, searchAll(request));
}

/** The plan that a finished search holds; `plan` when the rejected layouts are wanted too. */
export function planFrom(request: PlanRequest, result: SearchResult): Result<Plan> {
  const best = result.found[0];
  if (!best) return err(noPlan(request, result));
  const traits = engineTraits(request.constraints.engine, best.training, request.traits);
  const fault = formatFault(stageHomes(request.cluster, best.layout), traits, best.training.precision);
  if (fault) return err(fault);
  return ok(describe(request, result, best));
}

function describe(request: PlanRequest, result: SearchResult, best: Found): Plan {
  const { model, cluster } = request;
  const { costs: _costs, ...time } = best.time;
  const counts = countParameters(model);
  const traits = engineTraits(request.constraints.engine, best.training, request.traits);
  const implied = engineTraits(request.constraints.engine, best.training).compute;
  return {
    schema: "tessera.plan/v1",
    name: layoutName(best.layout, best.training.microBatch),
    model: { name: model.name, parameters: counts.total, active: counts.active },
    cluster: { name: cluster.name, devices: clusterDevices(cluster) },
    engine: request.constraints.engine,
    layout: best.layout,
    training: best.training,
    traits,
    ...(traits.compute !== implied && (traits.compute === "fp8" || traits.compute === "fp4")
      ? { products: traits.compute }
      : {}),
    ...(traits.deduplicate && best.layout.ep > 1 ? { dispatcher: "flex" as const } : {}),
    time,
    memory: best.memory,
    free: best.free,
    ...routedMemory(request, best, traits),
    why: [...whyBest(best, result), ...spares(request, best.layout, result.whole)],
    alternatives: result.found.slice(1, 1 + (request.alternatives ?? 10)).map((found) => ({
      name: layoutName(found.layout, found.training.microBatch),
      layout: found.layout,
      microBatch: found.training.microBatch,
      seconds: found.time.seconds,
      difference: difference(found.time.breakdown, best.time.breakdown),
      free: found.free,
      why: whySlower(found, best),
    })),
    rejected: groupRejected(result),
    searched: {
      considered: result.considered,
      simulated: result.simulated,
      optimal: result.leftBound >= best.time.seconds,
    },
  };
}

/** The fullest device under the recorded loads. */
function routedMemory(request: PlanRequest, best: Found, traits: Traits): Pick<Plan, "routed"> {
  const { layout, training } = best;
  if (traits.routing === undefined || layout.ep === 1) return {};
  const homes = stageHomes(request.cluster, layout);
  const most = (at: "p50" | "p99") => {
    const { engine } = request.constraints;
    const { classes } = predictMemory(request.model, layout, training, engine, homes, traits, at);
    return Math.max(...classes.map(({ memory }) => memory.reserved + memory.framework));
  };
  return { routed: { ...expertLoad(traits, layout.ep), bytes: { p50: most("p50"), p99: most("p99") } } };
}

/** What to say when some devices of the cluster take no part. */
function spares({ cluster, world }: PlanRequest, layout: Layout, whole?: number): Text[] {
  const [all, used] = [clusterDevices(cluster), worldOf(layout)];
  if (world !== undefined || used === all) return [];
  if (whole !== undefined) {
    return [
      {
        en: `All ${all} devices together would take ${formatSeconds(whole)} a step; the last ${all - used} wait as spares.`,
        zh: `${all} 個加速器全用時每步需 ${formatSeconds(whole)}；最後 ${all - used} 個留作備用。`,
      },
    ];
  }
  return [
    {
      en: `No layout on all ${all} devices is legal and fits; ${all - used} wait as spares.`,
      zh: `${all} 個加速器全用時沒有合法且放得下的佈局；${all - used} 個留作備用。`,
    },
  ];
}

function noPlan(request: PlanRequest, result: SearchResult) {
  const { cluster, training } = request;
  const devices = request.world ?? clusterDevices(cluster);
  if (!result.nearest) {
    const unexpressed = result.illegal.get("target");
    if (unexpressed) return layoutFail("EXPORT_NOTHING", { devices, what: unexpressed.detail });
    return layoutFail("PLAN_NO_LAYOUT", {
      devices,
      batch: training.globalBatch,
      sequence: training.sequence,
      why: commonest(request, result, devices),
    });
  }
  const { layout, microBatch, short } = result.nearest;
  const found = {
    considered: result.considered,
    layout: layoutName(layout, microBatch),
    short: formatBytes(short),
  };
  if (request.advise === false) return layoutFail("PLAN_NO_ROOM", found);
  return layoutFail("PLAN_NO_ROOM_HERE", { ...found, ...whatFits(request) });
}

/** The rule that most combinations break, by its example. */
function commonest({ constraints }: PlanRequest, { illegal }: SearchResult, devices: number): Text {
  const [most] = [...illegal.values()].sort((a, b) => b.count - a.count);
  if (!most) {
    for (const name of ["pp", "tp", "cp"] as const) {
      const asked = constraints[name];
      if (!asked || asked.some((degree) => devices % degree === 0)) continue;
      const list = asked.join(", ");
      return {
        en: `${name} ${list} does not divide ${devices} devices`,
        zh: `${name} ${list} 不能整除 ${devices} 個加速器`,
      };
    }
    return {
      en: "the degrees asked for do not divide the devices, or the model has too few layers for them",
      zh: "所要求的並行度無法整除加速器數，或模型層數不足",
    };
  }
  return { en: `for example, ${most.detail.en}`, zh: `例如 ${most.detail.zh}` };
}

/** What would make room, as far as searching found it, in both languages. */
function whatFits(request: PlanRequest): { fits: string; fitsZh: string } {
  const [count, memory] = [enoughDevices(request), enoughMemory(request)];
  const en = [
    ...(count === undefined ? [] : [`on ${count} devices of this kind`]),
    ...(memory === undefined ? [] : [`with ${memory} on each device`]),
  ];
  const zh = [
    ...(count === undefined ? [] : [`${count} 個同型加速器`]),
    ...(memory === undefined ? [] : [`每個加速器 ${memory} 記憶體`]),
  ];
  if (en.length === 0) {
    return {
      fits: "neither 128 times the devices nor 128 times their memory would do",
      fitsZh: "加速器或其記憶體增至 128 倍仍放不下",
    };
  }
  return { fits: `it fits ${en.join(", or ")}`, fitsZh: `${zh.join("，或")}即可放下` };
}

/** Whether anything fits on another cluster. */
const anyFits = (request: PlanRequest, cluster: Cluster): boolean =>
  runSearch({ ...request, cluster, world: clusterDevices(cluster), simulate: 1 }).found.length > 0;

/** The least of doubled and halved-back values that passes: at most a quarter above the true limit. */
function least(start: number, passes: (value: number) => boolean): number | undefined {
  let high = start;
  for (let doubled = 0; doubled < 7; doubled++) {
    high *= 2;
    if (!passes(high)) continue;
    for (const share of [0.625, 0.75, 0.875]) if (passes(high * share)) return high * share;
    return high;
  }
  return undefined;
}

/** Devices with which something would fit, in whole nodes of the last group. */
function enoughDevices(request: PlanRequest): number | undefined {
  const { groups } = request.cluster;
  const last = groups.at(-1) as Cluster["groups"][0];
  const withNodes = (nodes: number): Cluster => ({
    ...request.cluster,
    groups: [...groups.slice(0, -1), { ...last, nodes }],
  });
  const nodes = least(last.nodes, (n) => Number.isInteger(n) && anyFits(request, withNodes(n)));
  return nodes === undefined ? undefined : clusterDevices(withNodes(nodes));
}

/** Memory of the largest device with which something would fit on as many devices. */
function enoughMemory(request: PlanRequest): string | undefined {
  const grown = (factor: number): Cluster => ({
    ...request.cluster,
    groups: request.cluster.groups.map((group) => ({
      ...group,
      device: { ...group.device, memoryBytes: group.device.memoryBytes * factor },
    })),
  });
  const factor = least(1, (f) => anyFits(request, grown(f)));
  if (factor === undefined) return undefined;
  return formatBytes(factor * Math.max(...request.cluster.groups.map((group) => group.device.memoryBytes)));
}
