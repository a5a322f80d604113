import type { MathFormat } from "../../cluster/index.ts";
import type { Training } from "../layout.ts";
import type { RoutingLoad } from "../memory/imbalance.ts";

/** What an engine overlaps and how it computes: the part of time that neither model, cluster nor layout decides. */
export type Traits = {
  /** Format of dense matrix products, and of the experts'. */
  readonly compute: MathFormat;
  readonly expertCompute: MathFormat;
  /** Gradient and weight exchange hides behind the last backward and the first forward. */
  readonly overlapData: boolean;
  /** ZeRO-3 sums gradients of all micro-batches on the rank and reduces them once a step. */
  readonly reduceOnce: boolean;
  /** Share of tensor-parallel collectives hidden behind products (0 to 1). */
  readonly overlapTensor: number;
  /** Share of expert exchange hidden behind other work of the same pass (0 to 1); pairs of DualPipeV hide more. */
  readonly overlapExpert: number;
  /** Pipeline messages travel while the next pass runs. */
  readonly overlapPipeline: boolean;
  /** Slowdown of the compute that something hides behind (SMs, memory and clock are shared). */
  readonly overlapSlowdown: number;
  /** Tokens on the most loaded expert rank over the mean. */
  readonly imbalance: number;
  /** The same by degree of expert parallelism, from recorded loads; stands before `imbalance`. */
  readonly routing?: readonly RoutingLoad[];
  /** The dispatcher sends a token once to each rank, and to each block of a link, that wants it. */
  readonly deduplicate: boolean;
  /** Tokens pick experts that stand side by side (a benchmark's balanced gate), so that they visit few ranks. */
  readonly consecutive: boolean;
  /** Low-precision inputs of experts are cast inside the kernels before them, so casting moves nothing more. */
  readonly fusedCasts: boolean;
  /** Biases of experts, where a model has them, cost nothing beside the products; else they are added by kernels of their own. */
  readonly fusedBias: boolean;
  /** What experts keep for backward is copied to pages and back, as dropless graphs of a whole step need. */
  readonly stash: boolean;
  /**
   * Host seconds to launch one layer's forward and backward (a third and two thirds); a device that is done sooner waits.
   * 0 where graphs replay the launches.
   */
  readonly hostLayerSeconds: number;
  /** Host work of a step that nothing hides: data, logging, scalars, scheduler. Seconds. */
  readonly stepSeconds: number;
};

/** Megatron-class defaults: distributed optimizer overlapped, pipeline messages asynchronous, plain all-to-all. */
export const MEGATRON_TRAITS: Traits = {
  compute: "bf16",
  expertCompute: "bf16",
  overlapData: true,
  reduceOnce: false,
  overlapTensor: 0,
  overlapExpert: 0,
  overlapPipeline: true,
  overlapSlowdown: 0.08,
  imbalance: 1,
  deduplicate: false,
  consecutive: false,
  fusedCasts: false,
  fusedBias: false,
  stash: false,
  hostLayerSeconds: 0,
  stepSeconds: 2e-3,
};

/** Our engine: gradients stay on their rank until the last micro-batch, and a step's exchange stands in the open. */
const TESSERA_TRAITS: Partial<Traits> = { reduceOnce: true, overlapData: false };

/** Traits that follow from a recipe's precision: what format the products run in. */
export function traitsFor(training: Training, base: Traits = MEGATRON_TRAITS): Traits {
  const format = (name: string | undefined): MathFormat =>
    name === "fp8" || name === "mxfp8"
      ? "fp8"
      : name === "fp4"
        ? "fp4"
        : training.precision.activations === "float32"
          ? "fp32"
          : "bf16";
  const compute = base.compute === "bf16" ? format(training.precision.weights) : base.compute;
  return {
    ...base,
    compute,
    expertCompute:
      base.expertCompute === "bf16"
        ? format(training.precision.experts ?? training.precision.weights)
        : base.expertCompute,
  };
}

/** How unevenly a layout's expert ranks are loaded. With one of them there is nobody to be more loaded than. */
export function expertLoad(traits: Pick<Traits, "imbalance" | "routing">, ep: number): RoutingLoad {
  const even = ep > 1 ? traits.imbalance : 1;
  return traits.routing?.find((load) => load.ep === ep) ?? { ep, slowest: even, p50: even, p99: even };
}

/** Traits of an engine under a recipe, and what a request sets itself. */
export const engineTraits = (
  engine: "tessera" | "megatron",
  training: Training,
  more: Partial<Traits> = {},
): Traits => ({ ...traitsFor(training), ...(engine === "tessera" ? TESSERA_TRAITS : {}), ...more });
