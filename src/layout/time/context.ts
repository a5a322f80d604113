import type { Device, MathFormat, Wires } from "../../cluster/index.ts";
import type { ModuleName } from "../../model/types.ts";
import type { Layout, RecomputeRegion } from "../layout.ts";
import type { Terms } from "./terms.ts";

/** Everything the cost of a layer depends on besides its body; equal keys may share a cache. */
export type LayerContext = {
  readonly device: Device;
  readonly wires: Wires;
  readonly hidden: number;
  readonly streams: number;
  /** Tokens of one micro-batch on one rank before tp cuts them, and the whole sequence they belong to. */
  readonly tokens: number;
  readonly sequence: number;
  readonly tp: number;
  readonly cp: number;
  readonly ep: number;
  readonly etp: number;
  readonly sequenceParallel: boolean;
  readonly contextParallel: Layout["contextParallel"];
  readonly format: MathFormat;
  readonly expertFormat: MathFormat;
  readonly activationBytes: number;
  readonly dispatchBytes: number;
  readonly gradientBytes: number;
  /** Most loaded over mean expert-parallel rank. */
  readonly imbalance: number;
  /** Dispatch sends a token once to each rank and each block of a link that it visits, not once per expert. */
  readonly deduplicate: boolean;
  /** Tokens pick experts side by side. */
  readonly consecutive: boolean;
  readonly tensorOverlap: number;
  /** Experts' inputs and gradients are cast by the kernels that make them. */
  readonly fusedCasts: boolean;
  /** Biases of experts are added by the kernels that multiply. */
  readonly fusedBias: boolean;
  /** What experts keep for backward is copied to pages and back. */
  readonly stash: boolean;
};

export type ModuleCost = {
  readonly module: ModuleName;
  readonly forward: Terms;
  /** Gradient of the input; `weight` is the gradient of the weights, which may run later. */
  readonly backward: Terms;
  readonly weight: Terms;
};
export type LayerCost = {
  readonly modules: readonly ModuleCost[];
  readonly forward: Terms;
  readonly backward: Terms;
  readonly weight: Terms;
  readonly forwardSeconds: number;
  readonly backwardSeconds: number;
  /** Forward work of each region that recomputation can run again. */
  readonly regions: Readonly<Partial<Record<RecomputeRegion, Terms>>>;
};
