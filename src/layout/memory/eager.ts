/** What transformers' eager modules keep for backward. */
import type { LayerBody, Model } from "../../model/index.ts";
import type { Part } from "./parts.ts";
import { layerSaved, routedTokens, type Scope } from "./saved.ts";

/** Scores and probabilities of attention without a fused kernel, per micro-batch. */
function scores(body: LayerBody, s: Scope): number {
  let bytes = 0;
  for (const { spec } of body.sublayers) {
    if (spec.kind !== "compressed") continue;
    const keys = s.tokens + (spec.ratio > 0 ? s.tokens / spec.ratio : 0);
    bytes += 2 * s.activation * spec.heads * s.tokens * keys;
  }
  return bytes;
}

export function eagerLayer(body: LayerBody, s: Scope, recompute: boolean): Part {
  const saved = layerSaved(body, s).reduce((sum, tensor) => sum + tensor.bytes, scores(body, s));
  const input = s.tokens * s.hidden * s.streams * s.activation;
  let temporary = 2 * input;
  for (const { spec } of body.sublayers) {
    if (spec.kind === "moe")
      temporary = Math.max(temporary, 4 * routedTokens(spec, s) * spec.expertHidden * s.activation);
  }
  return recompute
    ? { kept: input, loss: 0, full: saved + input, forward: saved + temporary, backward: temporary, host: 0 }
    : { kept: saved, loss: 0, full: saved, forward: temporary, backward: temporary, host: 0 };
}

export function eagerHead(model: Model, s: Scope): Part {
  const logits = s.tokens * model.vocabulary * s.activation;
  const kept = 2 * s.tokens * s.hidden * s.activation;
  return {
    kept: kept + logits,
    loss: logits,
    full: kept + logits,
    forward: logits,
    backward: logits,
    host: 0,
  };
}
