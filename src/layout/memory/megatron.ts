/**
 * Megatron-Core with Transformer Engine: what a micro-batch needs in each part, and what the stack holds all the time.
 *
 * Every term is an allocation that the code of that stack makes; none is fitted. `bench/layout/memory.ts` compares with
 * 344 measured ranks.
 */
import type { LayerBody, Model, Weight } from "../../model/index.ts";
import { bodyWeights } from "../../model/index.ts";
import type { Layout, Recompute, Training } from "../layout.ts";
import type { Part, Saved } from "./parts.ts";
import { layerSaved, routedTokens, type Scope } from "./saved.ts";
import { layersOfStage, lastStage, rankWeights, unitShare } from "./shards.ts";

const MiB = 2 ** 20;

/** What differs between releases of the stack. */
export type MegatronStack = {
  /** Scratch of Transformer Engine's cuBLAS calls; four more for grouped GEMMs, one a stream. */
  readonly engineScratch: number;
  readonly groupedScratch: number;
  /** PyTorch's own cuBLAS scratch: one for the forward thread and one for the backward thread; only the head uses it. */
  readonly torchScratch: number;
  /**
   * With gradients accumulated inside the GEMM, autograd still wants a gradient to hand over: a placeholder of the
   * weight's shape. Since TE 2.3 one is kept for each shape of linear layers, since 2.10 of grouped ones too.
   */
  readonly linearPlaceholders: boolean;
  readonly groupedPlaceholders: boolean;
  /** Rows of the vocabulary are padded to this times tp (`--make-vocab-size-divisible-by`). */
  readonly vocabularyMultiple: number;
};

/** Transformer Engine 2.11 (`base.py`: 32 MiB scratch from Hopper on) and PyTorch 2.10 (8.125 MiB a handle). */
export const MEGATRON_2026: MegatronStack = {
  engineScratch: 32 * MiB,
  groupedScratch: 4 * 32 * MiB,
  torchScratch: 2 * 8.125 * MiB,
  linearPlaceholders: true,
  groupedPlaceholders: true,
  vocabularyMultiple: 128,
};

export const padVocabulary =
  (stack: MegatronStack, tp: number) =>
  (rows: number): number => {
    const unit = stack.vocabularyMultiple * tp;
    return Math.ceil(rows / unit) * unit;
  };

export function scopeOf(model: Model, layout: Layout, training: Training, load: number): Scope {
  const tokens = (training.sequence * training.microBatch) / layout.cp;
  const { activations, dispatch } = training.precision;
  return {
    hidden: model.hidden,
    streams: model.streams,
    tokens,
    sharded: layout.sequenceParallel ? tokens / layout.tp : tokens,
    tp: layout.tp,
    etp: layout.etp,
    cp: layout.cp,
    contextParallel: layout.contextParallel,
    activation: activations === "float32" ? 4 : 2,
    dispatch: dispatch === "float32" ? 4 : dispatch === "fp8" ? 1 + 1 / 32 : 2,
    load,
    capacityFactor: training.capacityFactor ?? null,
  };
}

/** One hidden state as it lies on a rank between layers. */
const state = (s: Scope): number => s.sharded * s.hidden * s.streams * s.activation;

/** Forward temporaries of a layer. */
function forwardTemporaries(body: LayerBody, s: Scope): number {
  const one = s.sharded * s.hidden * s.activation;
  const gather = s.tp > 1 ? s.tokens * s.hidden * s.activation : 0;
  let most = 2 * one * s.streams + gather;
  for (const { spec } of body.sublayers) {
    if (spec.kind !== "moe") continue;
    // Still referenced when results come back: tokens as received, experts' output, its reordered copy, the returned
    // tokens; beside them the shared experts' output, the combined output and their sum.
    const pairs = routedTokens(spec, s) * spec.expertHidden * s.activation;
    most = Math.max(most, 4 * pairs + 3 * one);
  }
  return most;
}

/**
 * Backward temporaries of a layer, on top of all its saved tensors and with the incoming gradient.
 * The feed-forward block comes first; what it has freed when its activation runs is taken off.
 */
function backwardTemporaries(body: LayerBody, s: Scope): number {
  const gradient = state(s);
  const gather = s.tp > 1 ? s.tokens * s.hidden * s.activation : 0;
  let most = gradient + gather + s.tokens * s.hidden * s.activation;
  for (const { spec } of body.sublayers) {
    if (spec.kind === "dense") {
      const act = (s.tokens * spec.width * s.activation) / s.tp;
      // Second linear layer: gathered gradient and gradient of its input.
      most = Math.max(most, gradient + gather + act);
      // Activation: its output was freed; gradients of output and of input exist together.
      most = Math.max(most, gradient + act * (spec.gated ? 2 : 1));
    } else if (spec.kind === "moe") {
      const pairs = routedTokens(spec, s) * spec.expertHidden * s.activation;
      const act = (routedTokens(spec, s) * spec.width * s.activation) / s.etp;
      // Gradient of the experts' output as received and reordered, and of their activation.
      most = Math.max(most, gradient + 2 * pairs + act);
    }
  }
  return most;
}

/** Temporaries of a forward that keeps nothing (before recomputation). */
function transientForward(body: LayerBody, s: Scope): number {
  let most = 0;
  for (const { spec } of body.sublayers) {
    if (spec.kind === "dense")
      most = Math.max(most, (s.tokens * spec.width * s.activation * (spec.gated ? 3 : 2)) / s.tp);
    if (spec.kind === "moe") {
      const act = (routedTokens(spec, s) * spec.width * s.activation) / s.etp;
      most = Math.max(most, act * (spec.gated ? 3 : 2));
    }
  }
  return most + forwardTemporaries(body, s);
}

const sum = (saved: readonly Saved[]): number => saved.reduce((total, { bytes }) => total + bytes, 0);

export function layerPart(body: LayerBody, s: Scope, recompute: Recompute, layout: Layout): Part {
  const saved = layerSaved(body, s);
  const full = sum(saved);
  const backward = backwardTemporaries(body, s);
  const offloaded = layout.offload.activations;
  if (recompute.kind === "full") {
    const input = state(s);
    const host = offloaded.includes("layerInput") ? input : 0;
    return {
      kept: input - host,
      loss: 0,
      full: full + input,
      forward: transientForward(body, s),
      backward,
      host,
    };
  }
  const regions = new Set(recompute.kind === "selective" ? recompute.regions : []);
  const keep = saved.filter((tensor) => !tensor.regions.some((region) => regions.has(region)));
  const host = sum(keep.filter((tensor) => tensor.regions.some((region) => offloaded.includes(region))));
  return { kept: sum(keep) - host, loss: 0, full, forward: forwardTemporaries(body, s), backward, host };
}

/** Final norm, head and fused cross-entropy, which turns the logits into their gradient in place. */
export function headPart(model: Model, s: Scope, stack: MegatronStack): Part {
  const rows = padVocabulary(stack, s.tp)(model.vocabulary);
  const logits = (s.tokens * rows * s.activation) / s.tp;
  const one = s.sharded * s.hidden * s.activation;
  const wide = s.tokens * s.hidden * s.activation;
  const collapse = s.streams > 1 ? one * s.streams : 0;
  const kept = collapse + 2 * one + logits;
  // Gradient of the head's input; over tp also the gathered input and the scattered gradient.
  const backward = wide + (s.tp > 1 ? wide + one : 0);
  return { kept, loss: logits, full: kept, forward: s.tp > 1 ? wide : 0, backward, host: 0 };
}

export function stageParts(
  model: Model,
  layout: Layout,
  training: Training,
  stage: number,
  s: Scope,
  stack: MegatronStack,
): Part[] {
  const recompute = layout.stageRecompute?.[stage] ?? layout.recompute;
  const bodies = layersOfStage(model, layout, training, stage);
  const limit = recompute.kind === "full" ? (recompute.layers ?? bodies.length) : bodies.length;
  const parts = bodies.map(({ body }, i) =>
    layerPart(body, s, recompute.kind === "full" && i >= limit ? { kind: "none" } : recompute, layout),
  );
  if (stage === lastStage(layout)) {
    // Each module of multi-token prediction runs the head once more on its own state.
    for (let i = 0; i < 1 + (training.mtp ? model.mtp.length : 0); i++) parts.push(headPart(model, s, stack));
  }
  return parts;
}

/** Shapes of linear layers on one rank, for the placeholders of their gradients. */
function placeholders(
  model: Model,
  layout: Layout,
  training: Training,
  ppRank: number,
  stack: MegatronStack,
): number {
  const shapes = new Map<string, number>();
  const add = (out: number, into: number) => shapes.set(`${out}x${into}`, out * into);
  for (const { weights } of rankWeights(model, layout, training, ppRank)) {
    if (stack.linearPlaceholders) for (const [out, into] of fusedShapes(weights, layout)) add(out, into);
    if (stack.groupedPlaceholders) for (const w of weights) if (isGrouped(w)) add(...expertShape(w, layout));
  }
  let elements = 0;
  for (const size of shapes.values()) elements += size;
  return elements * (training.precision.activations === "float32" ? 4 : 2);
}

const isGrouped = (w: Weight): boolean => w.cut.kind === "expert" && w.shape.length === 3;

function expertShape(w: Weight, layout: Layout): [number, number] {
  const [, a, b] = w.shape as [number, number, number];
  const dim = w.cut.kind === "expert" ? w.cut.dim : null;
  return [dim === 1 ? a / layout.etp : a, dim === 2 ? b / layout.etp : b];
}

/** Megatron's linear layers: q, k, v in one, gate and up in one. */
function* fusedShapes(weights: readonly Weight[], layout: Layout): Generator<[number, number]> {
  const groups = new Map<string, [number, number]>();
  for (const w of weights) {
    if (w.cut.kind === "expert" || w.use !== "linear" || w.shape.length !== 2 || w.module === "router")
      continue;
    if (w.module === "head" || w.module === "hyperConnection") continue;
    const [rows, columns] = w.shape as [number, number];
    const { cut } = w;
    const share = cut.kind === "tensor" ? unitShare(cut.units ?? Number.POSITIVE_INFINITY, layout.tp) : 1;
    const out = cut.kind === "tensor" && cut.dim === 0 ? rows * share : rows;
    const into = cut.kind === "tensor" && cut.dim === 1 ? columns * share : columns;
    const name = w.name.replace(/\b(q|k|v)_proj\b/, "qkv").replace(/\b(gate|up)_proj\b/, "gate_up");
    const known = groups.get(name);
    groups.set(name, known ? [known[0] + out, known[1]] : [out, into]);
  }
  yield* groups.values();
}

/** Bytes that are there from the first step on, whatever runs. */
export function standing(
  model: Model,
  layout: Layout,
  training: Training,
  ppRank: number,
  s: Scope,
  stack: MegatronStack,
  holdsHead: boolean,
): number {
  const weights = rankWeights(model, layout, training, ppRank).flatMap((group) => group.weights);
  const grouped = weights.some(isGrouped) ? stack.groupedScratch : 0;
  const rows = padVocabulary(stack, layout.tp)(model.vocabulary);
  const head = holdsHead ? (rows * model.hidden * s.activation) / layout.tp + stack.torchScratch : 0;
  // Rotary angles in fp32, one row a token.
  const rotary = 4 * s.tokens * rotaryWidth(model);
  return stack.engineScratch + grouped + head + rotary + placeholders(model, layout, training, ppRank, stack);
}

function rotaryWidth(model: Model): number {
  for (const { body } of model.layers) {
    for (const sub of body.sublayers) {
      const { spec } = sub;
      if (spec.kind === "grouped") return spec.headDim;
      if (spec.kind === "latent" || spec.kind === "compressed") return spec.ropeDim;
    }
  }
  return 0;
}

/** Hidden states that Python still names while the next pass runs: the last gradients received and sent. */
export function namedGradients(layout: Layout, s: Scope, ppRank: number, backward: boolean): number {
  if (layout.pp === 1) return 0;
  const first = ppRank === 0;
  const last = ppRank === layout.pp - 1;
  return state(s) * ((first ? 0 : 1) + (last || backward ? 0 : 1));
}

export { bodyWeights };
