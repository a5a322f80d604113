/** Counting parameters. Router biases count (they are in the checkpoint), integer lookup tables do not. */
import type { Layer, LayerBody, Model, ModuleName, Weight } from "./types.ts";
import { elements } from "./weights.ts";

export type ParameterCounts = {
  /** Everything in the checkpoint, MTP modules included. */
  readonly total: number;
  /** Without MTP modules. */
  readonly main: number;
  readonly mtp: number;
  /** Touched by one token in the main model: chosen and shared experts, without the input embedding. */
  readonly active: number;
  readonly routedExperts: number;
  readonly embedding: number;
  readonly head: number;
  readonly byModule: Readonly<Record<ModuleName, number>>;
};

const bodies = new WeakMap<LayerBody, readonly Weight[]>();

/** All weights of a layer: its own, then those of its sublayers. */
export function bodyWeights(body: LayerBody): readonly Weight[] {
  let found = bodies.get(body);
  if (!found) {
    found = [...body.weights, ...body.sublayers.flatMap((s) => s.weights)];
    bodies.set(body, found);
  }
  return found;
}

const count = (weights: readonly Weight[]): number =>
  weights.reduce((sum, w) => sum + (w.counted ? elements(w) : 0), 0);

/** Share of a sublayer's expert weights that one token uses. */
function activeShare(body: LayerBody): number {
  for (const s of body.sublayers) {
    if (s.role !== "feedForward" || s.spec.kind !== "moe") continue;
    const { experts, topK, zeroExperts } = s.spec;
    // With identity experts in the pool, a uniform router spends part of its choices on them.
    return topK / (experts + zeroExperts);
  }
  return 0;
}

const sumLayers = (layers: readonly Layer[], of: (body: LayerBody) => number): number => {
  const cache = new Map<LayerBody, number>();
  let sum = 0;
  for (const { body } of layers) {
    let value = cache.get(body);
    if (value === undefined) {
      value = of(body);
      cache.set(body, value);
    }
    sum += value;
  }
  return sum;
};

export function countParameters(model: Model): ParameterCounts {
  const isExpert = (w: Weight) => w.cut.kind === "expert";
  const routed = (body: LayerBody) => count(bodyWeights(body).filter(isExpert));
  const all = (body: LayerBody) => count(bodyWeights(body));
  const active = (body: LayerBody) => all(body) - routed(body) * (1 - activeShare(body));
  const embedding = count(model.embedding.weights);
  const head = count(model.head.weights);
  const main = embedding + head + sumLayers(model.layers, all);
  const mtp = sumLayers(model.mtp, all);
  const byModule = {} as Record<ModuleName, number>;
  const add = (weights: readonly Weight[]) => {
    for (const w of weights) if (w.counted) byModule[w.module] = (byModule[w.module] ?? 0) + elements(w);
  };
  add(model.embedding.weights);
  add(model.head.weights);
  for (const { body } of [...model.layers, ...model.mtp]) add(bodyWeights(body));
  return {
    total: main + mtp,
    main,
    mtp,
    // A tied embedding works as the head, and so is used by every token.
    active: head + (model.tied ? embedding : 0) + sumLayers(model.layers, active),
    routedExperts: sumLayers([...model.layers, ...model.mtp], routed),
    embedding,
    head,
    byModule,
  };
}
