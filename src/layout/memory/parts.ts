/**
 * A virtual stage as a row of parts (layers, then loss), and what one micro-batch needs in it.
 *
 * Forward goes through the parts in order, keeping each one's saved tensors; backward comes back and frees them. So the
 * most that a pass ever holds is, over its parts, what is kept up to there plus that part's own temporaries. With
 * recomputation a part keeps less, and its full saved tensors return while its own backward runs.
 */
import type { RecomputeRegion } from "../layout.ts";
import type { ModuleName } from "../../model/index.ts";

/** A tensor that the forward pass leaves for the backward pass. Bytes of one micro-batch on one rank. */
export type Saved = {
  readonly module: ModuleName;
  readonly bytes: number;
  /** Regions whose recomputation makes keeping it unnecessary. */
  readonly regions: readonly RecomputeRegion[];
  /** Region that reads it: activation offload moves what a region reads. */
  readonly input?: RecomputeRegion;
};

export type Part = {
  /** Bytes kept from forward to backward. */
  readonly kept: number;
  /** Share of `kept` that belongs to the loss (logits and what is beside them). */
  readonly loss: number;
  /** Bytes that exist while this part's backward runs: `kept` and what is computed again. */
  readonly full: number;
  /** Temporaries of forward, on top of `kept`; of backward, on top of `full`. */
  readonly forward: number;
  readonly backward: number;
  /** Bytes moved to the host between the passes. */
  readonly host: number;
  /** Weights gathered while this part runs (FSDP), and gradients not scattered yet. */
  readonly gathered?: number;
};

export type StageNeed = {
  /** Kept between the passes by every micro-batch in flight. */
  readonly kept: number;
  readonly loss: number;
  readonly host: number;
  /** On top of all kept bytes (the running micro-batch's own ones included), at the worst moment of the pass. */
  readonly forward: Extra;
  readonly backward: Extra;
};

/** How the extra bytes of the worst moment split: recomputed or not yet freed activations, and temporaries. */
export type Extra = {
  readonly total: number;
  readonly activations: number;
  readonly loss: number;
  readonly workspace: number;
};

const worse = (a: Extra | undefined, b: Extra): Extra => (a === undefined || b.total > a.total ? b : a);
const NOTHING: Extra = { total: 0, activations: 0, loss: 0, workspace: 0 };

export function stageNeed(parts: readonly Part[]): StageNeed {
  let kept = 0;
  let loss = 0;
  let host = 0;
  for (const part of parts) {
    kept += part.kept;
    loss += part.loss;
    host += part.host;
  }
  let forward: Extra | undefined;
  let backward: Extra | undefined;
  let before = 0;
  let lossBefore = 0;
  for (const part of parts) {
    const upTo = before + part.kept;
    const lossUpTo = lossBefore + part.loss;
    // Negative where later parts have not been reached: the caller has counted them as kept.
    const missing = { activations: upTo - lossUpTo - (kept - loss), loss: lossUpTo - loss };
    forward = worse(forward, extra(missing.activations, missing.loss, part.forward));
    const again = part.full - part.kept;
    const [layer, head] = part.loss > 0 ? [0, again] : [again, 0];
    backward = worse(backward, extra(missing.activations + layer, missing.loss + head, part.backward));
    before = upTo;
    lossBefore = lossUpTo;
  }
  return { kept, loss, host, forward: forward ?? NOTHING, backward: backward ?? NOTHING };
}

const extra = (activations: number, loss: number, workspace: number): Extra => ({
  total: activations + loss + workspace,
  activations,
  loss,
  workspace,
});
