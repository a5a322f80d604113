import { err, ok, type Result } from "../base/index.ts";
import type { Bound } from "./bound.ts";
import { fail } from "./errors.ts";
import { LayerPlanner } from "./layer-planner.ts";
import { layerLoads, type Loads } from "./loads.ts";
import type { Placement } from "./placement.ts";
import type { Shape } from "./shape.ts";

/** How a layer came out. `ratio` is max/mean of the ranks (speed counted); `toBound` is `ratio / bound.ratio`, at least 1. */
export type LayerResult = {
  readonly layer: number;
  readonly ratio: number;
  readonly toBound: number;
  readonly bound: Bound;
};

export type PlanOptions = {
  /** Ratio to the bound at which a layer is good enough; default 1.003. 1 asks for the best the search finds. */
  readonly goal?: number;
};

export const GOOD_ENOUGH = 1.003;

/** A placement of all layers from scratch: same input, same bytes out. Errors: EXPERTS_PLACEMENT_OTHER. */
export function plan(
  loads: Loads,
  shape: Shape,
  options: PlanOptions = {},
): Result<{ placement: Placement; layers: LayerResult[] }> {
  if (loads.experts !== shape.experts) {
    return err(fail("EXPERTS_PLACEMENT_OTHER", { what: "experts", got: loads.experts, want: shape.experts }));
  }
  const planner = new LayerPlanner(shape, options.goal ?? GOOD_ENOUGH);
  const slots = new Int32Array(loads.layers * shape.slots);
  const layers: LayerResult[] = [];
  for (let l = 0; l < loads.layers; l++) {
    const row = slots.subarray(l * shape.slots, (l + 1) * shape.slots);
    const { time, bound } = planner.place(layerLoads(loads, l), row);
    const toBound = bound.time > 0 ? Math.max(1, time / bound.time) : 1;
    layers.push({ layer: loads.ids[l] as number, ratio: bound.ratio * toBound, toBound, bound });
  }
  return ok({ placement: { ids: loads.ids, layers: loads.layers, shape, slots }, layers });
}
