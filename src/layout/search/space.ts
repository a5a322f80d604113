import type { Text } from "../../base/index.ts";
import type { Cluster } from "../../cluster/index.ts";
import type { Model } from "../../model/index.ts";
import {
  evenStages,
  type Layout,
  type Recompute,
  type RecomputeRegion,
  type Schedule,
  SINGLE,
  type Training,
} from "../layout.ts";
import {
  degreeProblem,
  type Engine,
  type ModelFacts,
  modelFacts,
  type Problem,
  schedulesOf,
} from "./problems.ts";

/** Values the search may use; an absent entry means the sensible ones for this model and cluster. */
export type Constraints = {
  readonly engine: Engine;
  readonly pp?: readonly number[];
  readonly vpp?: readonly number[];
  readonly tp?: readonly number[];
  readonly cp?: readonly number[];
  /** How cp ranks share attention; absent: gathered, in a ring, and by Ulysses where the key/value heads divide. */
  readonly contextParallel?: readonly Layout["contextParallel"][];
  readonly ep?: readonly number[];
  readonly etp?: readonly number[];
  readonly dpReplicate?: readonly number[];
  readonly zero?: readonly Layout["zero"][];
  readonly microBatch?: readonly number[];
  readonly schedules?: readonly Schedule[];
  readonly recompute?: readonly Recompute[];
  /** Shares of optimizer state on the host; [0] forbids swapping. */
  readonly optimizerOffload?: readonly number[];
  /** Slots of each ep rank for experts and copies. */
  readonly slotsPerRank?: number;
  /** What the stack that will run the layout cannot express in it. */
  readonly expressible?: (layout: Layout, training: Training) => Text | undefined;
  /** The same as slots beyond a rank's share of the experts; capped at one slot an expert, more would be no use. */
  readonly spareSlots?: number;
};

/** A point of the search: a layout whose stages are still an even placeholder, and the micro-batch it runs. */
export type Candidate = { readonly layout: Layout; readonly microBatch: number };

/** Regions worth computing again, the cheapest ones first; each step frees more. */
const SELECTIVE: readonly (readonly RecomputeRegion[])[] = [
  ["norm", "moeActivation"],
  ["norm", "moeActivation", "upProjection", "hyperConnection"],
  ["norm", "moeActivation", "upProjection", "hyperConnection", "mlp"],
];

/** The same, of the parts that the model has. */
function selective(facts: ModelFacts): Recompute[] {
  const lists = SELECTIVE.map((list) => list.filter((region) => facts.regions.has(region)));
  return lists
    .filter((list, i) => list.length > (lists[i - 1]?.length ?? 0))
    .map((regions) => ({ kind: "selective", regions }));
}

/** Full recomputation of some of a stage's layers: every count of a short stage, quarters of a long one. */
const partial = (stage: number): Recompute[] => {
  const counts = stage <= 4 ? [1, 2, 3] : [1, 2, 3].map((quarter) => Math.round((stage * quarter) / 4));
  return counts.filter((layers) => layers < stage).map((layers) => ({ kind: "full", layers }));
};

function divisors(n: number): number[] {
  const low: number[] = [];
  for (let d = 1; d * d <= n; d++) if (n % d === 0) low.push(d);
  const high = low.map((d) => n / d).reverse();
  return high[0] === low.at(-1) ? [...low, ...high.slice(1)] : [...low, ...high];
}
const powers = (most: number): number[] => {
  const out: number[] = [];
  for (let x = 1; x <= most; x *= 2) out.push(x);
  return out;
};

/** Every legal candidate for `world` devices; `illegal` is told of the others and of the rule they break. */
export function* candidates(
  model: Model,
  cluster: Cluster,
  training: Training,
  world: number,
  c: Constraints,
  illegal?: (candidate: Candidate, problem: Problem) => void,
): Generator<Candidate> {
  const facts = modelFacts(model);
  const splits = new Map<number, number[][]>();
  const even = (count: number) => {
    const known = splits.get(count) ?? evenStages(facts.layers, count);
    splits.set(count, known);
    return known;
  };
  const own = c.engine === "tessera";
  const regional = selective(facts);
  const first = cluster.groups[0];
  const node = first?.devicesPerNode ?? 8;
  // Tensor parallelism leaves the fast block of a node only on request: its collectives stand in the way of every product.
  const tps = c.tp ?? (own ? [1] : powers(Math.min(node, facts.heads, 16)));
  const cps = c.cp ?? (own ? [1] : powers(Math.max(1, Math.min(64, training.sequence / 8192))));
  const etps = c.etp ?? [1];
  const offloads = c.optimizerOffload ?? (own ? [0] : [0, 1]);
  const micros = c.microBatch ?? [1, 2, 4];
  const trainings = micros.map((microBatch) => ({ ...training, microBatch }));
  const zeros = c.zero ?? (own ? ([3] as const) : ([1] as const));
  for (const pp of c.pp ?? divisors(world).filter((d) => d <= Math.min(facts.layers, 64))) {
    for (const tp of tps) {
      for (const cp of cps) {
        if (world % (pp * tp * cp) !== 0) continue;
        const kinds = cp === 1 ? ONE_KIND : (c.contextParallel ?? kindsOf(facts, tp, cp));
        const last = [...choices(offloads, zeros, kinds)];
        const data = world / (pp * tp * cp);
        const stage = world / pp;
        for (const replicate of c.dpReplicate ?? [1]) {
          if (data % replicate !== 0) continue;
          const eps =
            c.ep ?? (facts.experts === 0 ? [1] : divisors(facts.experts).filter((e) => stage % e === 0));
          for (const ep of eps) {
            for (const etp of etps) {
              for (const [schedule, vpp] of turns(c, pp, facts.layers)) {
                const stages = even(pp * vpp);
                const recomputes = c.recompute ?? [
                  { kind: "none" as const },
                  ...(own ? [] : [...regional, ...partial(Math.ceil(facts.layers / (pp * vpp)))]),
                  { kind: "full" as const },
                ];
                for (const chosen of trainings) {
                  for (const recompute of recomputes) {
                    for (const [optimizer, zero, contextParallel] of last) {
                      const layout: Layout = {
                        ...SINGLE,
                        pp,
                        vpp,
                        tp,
                        cp,
                        dpReplicate: replicate,
                        dpShard: data / replicate,
                        ep,
                        etp,
                        sequenceParallel: tp > 1,
                        zero,
                        contextParallel,
                        // Our engine keeps the weights of a pipeline stage gathered for the step.
                        reshardAfterForward: !own || pp === 1,
                        schedule,
                        stages,
                        recompute,
                        offload: { optimizer, activations: [] },
                        ...slotsOf(c, facts.experts, ep),
                      };
                      const { microBatch } = chosen;
                      const problem =
                        degreeProblem(facts, layout, chosen, c.engine) ?? unexpressed(c, layout, chosen);
                      if (problem) illegal?.({ layout, microBatch }, problem);
                      else yield { layout, microBatch };
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}

const ONE_KIND = [SINGLE.contextParallel];

/** Latent and compressed attention gather their keys and values, which are narrow; grouped ones have the choice. */
const kindsOf = (facts: ModelFacts, tp: number, cp: number): readonly Layout["contextParallel"][] => {
  if (facts.keyValueHeads === 0) return ONE_KIND;
  return (facts.keyValueHeads / tp) % cp === 0 ? ["allGather", "ring", "ulysses"] : ["allGather", "ring"];
};

/** Every choice of the three. */
function* choices<A, B, C>(as: readonly A[], bs: readonly B[], cs: readonly C[]): Generator<[A, B, C]> {
  for (const a of as) for (const b of bs) for (const c of cs) yield [a, b, c];
}

function unexpressed(c: Constraints, layout: Layout, training: Training): Problem | undefined {
  const detail = c.expressible?.(layout, training);
  return detail && { constraint: "target", detail };
}

function slotsOf(c: Constraints, experts: number, ep: number): Pick<Layout, "slotsPerRank"> {
  if (experts === 0) return {};
  if (c.slotsPerRank !== undefined) return { slotsPerRank: c.slotsPerRank };
  return c.spareSlots ? { slotsPerRank: Math.min(experts, experts / ep + c.spareSlots) } : {};
}

/** Schedules with their virtual stages for a pipeline depth. */
function turns(c: Constraints, pp: number, layers: number): [Schedule, number][] {
  const allowed = c.schedules ?? schedulesOf(c.engine).filter((name) => name !== "gpipe" && name !== "zbh1");
  const out: [Schedule, number][] = [];
  for (const schedule of allowed) {
    if (pp === 1) {
      if (schedule === "1f1b") out.push([schedule, 1]);
      continue;
    }
    const most = Math.floor(layers / pp);
    const vpps =
      schedule === "interleaved1f1b"
        ? (c.vpp ?? [2, 3, 4, 5, 6, 8]).filter((v) => v > 1 && v <= most)
        : schedule === "zbv" || schedule === "dualpipev"
          ? most >= 2
            ? [2]
            : []
          : [1];
    for (const vpp of vpps) if (!c.vpp || c.vpp.includes(vpp)) out.push([schedule, vpp]);
  }
  return out;
}
