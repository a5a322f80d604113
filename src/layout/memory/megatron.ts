/**
 * Megatron-Core with Transformer Engine: what a micro-batch needs in each part, and what the stack holds all the time.
 *
 * Terms are allocations of that stack, with sizes from shapes; no constant is fitted. Three of them were inferred from the
 * residuals of the measured rows instead of read from code: how many copies of routed tokens a mixture's forward still
 * names (`forwardTemporaries`), that the head's placeholder stays, and the placeholders of experts in the older stack.
 * `bench/layout/memory.ts` compares with 344 measured ranks.
 */
import { bodyWeights, type LayerBody, type Model, type Weight } from "../../model/index.ts";
import type { MathFormat } from "../../cluster/index.ts";
import type { Layout, Recompute, Training } from "../layout.ts";
import { identity, memo } from "./memo.ts";
import { type Part, type Saved, stageNeed, type StageNeed } from "./parts.ts";
import { MEGATRON_2026, type MegatronStack, type ProductFormats } from "./stack.ts";
import { layerSaved, routedTokens, type Scope } from "./saved.ts";
import {
  lastStage,
  layersOfStage,
  localElements,
  type RankWeights,
  rankWeights,
  unitShare,
} from "./shards.ts";

export const padVocabulary =
  (stack: MegatronStack, tp: number) =>
  (rows: number): number => {
    const unit = stack.vocabularyMultiple * tp;
    return Math.ceil(rows / unit) * unit;
  };

/** Bytes of an input element that Transformer Engine keeps for the gradient of a weight: the cast it multiplied, not what was cast. */
const KEPT: Readonly<Record<MathFormat, number>> = { fp32: 4, bf16: 2, fp8: 1, fp4: 0.5 + 1 / 16 };

/** @param formats what products multiply in, where their casts are kept */
export function scopeOf(
  model: Model,
  layout: Layout,
  training: Training,
  load: number,
  formats?: ProductFormats,
): Scope {
  const tokens = (training.sequence * training.microBatch) / layout.cp;
  const { activations, dispatch } = training.precision;
  const activation = activations === "float32" ? 4 : 2;
  const kept = (format: MathFormat | undefined) => (format ? Math.min(activation, KEPT[format]) : activation);
  return {
    hidden: model.hidden,
    streams: model.streams,
    mixingRounds: model.mixingRounds,
    rows: training.microBatch,
    sequence: training.sequence / layout.cp,
    tokens,
    sharded: layout.sequenceParallel ? tokens / layout.tp : tokens,
    tp: layout.tp,
    etp: layout.etp,
    cp: layout.cp,
    contextParallel: layout.contextParallel,
    activation,
    input: kept(formats?.compute),
    expertInput: kept(formats?.expertCompute),
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

function layerPart(body: LayerBody, s: Scope, recompute: Recompute, layout: Layout): Part {
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
  const moved = ({ regions: of, input }: Saved) =>
    offloaded.some((region) =>
      region === "coreAttention" || region === "moeActivation"
        ? input === region
        : of.some((r) => r === region),
    );
  const host = sum(keep.filter(moved));
  return { kept: sum(keep) - host, loss: 0, full, forward: forwardTemporaries(body, s), backward, host };
}

const headBytes = (model: Model, s: Scope, stack: MegatronStack): number =>
  (padVocabulary(stack, s.tp)(model.vocabulary) * s.hidden * s.activation) / s.tp;

/** Final norm, head and loss. */
function headPart(model: Model, s: Scope, stack: MegatronStack): Part {
  const rows = padVocabulary(stack, s.tp)(model.vocabulary);
  const one = s.sharded * s.hidden * s.activation;
  const wide = s.tokens * s.hidden * s.activation;
  const norms = (s.streams > 1 ? one * s.streams : 0) + 2 * one;
  const logits = (s.tokens * rows * s.activation) / s.tp;
  const placeholder = stack.headPlaceholder === "backward" ? headBytes(model, s, stack) : 0;
  // Gradient of the head's input; over tp also the gathered input and the scattered gradient.
  const linear = wide + (s.tp > 1 ? wide + one : 0) + placeholder;
  const gather = s.tp > 1 ? wide : 0;
  if (stack.crossEntropy === "fused") {
    return {
      kept: norms + logits,
      loss: logits,
      full: norms + logits,
      forward: gather,
      backward: linear,
      host: 0,
    };
  }
  const softmax = (4 * s.tokens * rows) / s.tp;
  if (stack.crossEntropy === "float") {
    // Backward: gradients of both steps; over tp DTensor's fused one: the target's mask, the softmax and their sum.
    const full = norms + softmax * (s.tp > 1 ? 4 : 3);
    return { kept: norms + softmax, loss: softmax, full, forward: logits + softmax, backward: 0, host: 0 };
  }
  // The softmax is freed once the gradient of the logits is there.
  const backward = Math.max(logits, logits + linear - softmax);
  return { kept: norms + softmax, loss: softmax, full: norms + softmax, forward: logits, backward, host: 0 };
}

const partOfBody = memo<LayerBody, Part>();

/** Everything a layer's part depends on, besides its body. */
export function partKey(s: Scope, recompute: Recompute, layout: Layout): string {
  const tokens = `${s.rows}/${s.tokens}/${s.sharded}/${s.load}/${s.capacityFactor}/${s.activation}/${s.dispatch}/${s.input}/${s.expertInput}`;
  const ways = `${s.tp}/${s.etp}/${s.cp}/${s.contextParallel}/${layout.ep}/${s.streams}`;
  const again = recompute.kind === "selective" ? recompute.regions.join() : recompute.kind;
  return `${tokens}/${ways}/${again}/${layout.offload.activations.join()}`;
}

const needsOf = memo<Layout["stages"], StageNeed[]>();

/** What one micro-batch needs in every virtual stage; computed once for a split that several layouts of a search share. */
export function stageNeeds(
  model: Model,
  layout: Layout,
  training: Training,
  s: Scope,
  stack: MegatronStack,
): StageNeed[] {
  const make = () =>
    layout.stages.map((_, stage) => stageNeed(stageParts(model, layout, training, stage, s, stack)));
  if (layout.stageRecompute) return make();
  const { recompute } = layout;
  const layers = recompute.kind === "full" ? recompute.layers : "";
  const key = `${identity(model)}/${training.mtp}/${stackKey(stack)}/${layers}/${partKey(s, recompute, layout)}`;
  return needsOf(layout.stages, key, make);
}

/** Bytes that one micro-batch moves to the host in every virtual stage. */
export const offloadedBytes = (
  model: Model,
  layout: Layout,
  training: Training,
  load: number,
  formats: ProductFormats,
): number[] =>
  stageNeeds(model, layout, training, scopeOf(model, layout, training, load, formats), MEGATRON_2026).map(
    ({ host }) => host,
  );

const stackKeys = new WeakMap<MegatronStack, string>();
function stackKey(stack: MegatronStack): string {
  const key = stackKeys.get(stack) ?? Object.values(stack).join();
  stackKeys.set(stack, key);
  return key;
}

function stageParts(
  model: Model,
  layout: Layout,
  training: Training,
  stage: number,
  s: Scope,
  stack: MegatronStack,
): Part[] {
  const recompute = layout.stageRecompute?.[stage] ?? layout.recompute;
  const layers = layersOfStage(model, layout, training, stage);
  const limit = recompute.kind === "full" ? (recompute.layers ?? layers.length) : layers.length;
  const isLast = stage === lastStage(layout);
  const waiting = isLast && stack.headPlaceholder === "backward" ? headBytes(model, s, stack) : 0;
  const rest: Recompute = recompute.kind === "full" ? { kind: "none" } : recompute;
  const suffix = `/${stack.groupedPlaceholders}`;
  const keys = [partKey(s, recompute, layout) + suffix, partKey(s, rest, layout) + suffix] as const;
  const parts = layers.map(({ body }, i) => {
    const inside = i < limit;
    const part = partOfBody(body, inside ? keys[0] : keys[1], () => {
      const one = layerPart(body, s, inside ? recompute : rest, layout);
      const experts = stack.groupedPlaceholders === "layer" ? expertPlaceholders(body, layout) : 0;
      return { ...one, backward: one.backward + experts };
    });
    return waiting === 0 ? part : { ...part, backward: part.backward + waiting };
  });
  if (isLast) {
    // Each module of multi-token prediction runs the head once more on its own state.
    for (let i = 0; i < 1 + (training.mtp ? model.mtp.length : 0); i++) parts.push(headPart(model, s, stack));
  }
  return parts;
}

const shapesOf = memo<readonly Weight[], ReadonlyMap<string, number>>();

/** Distinct shapes of linear layers on one rank, with their elements: their gradients' placeholders. */
function placeholders(groups: RankWeights, layout: Layout, training: Training, stack: MegatronStack): number {
  const key = `${layout.tp}/${layout.etp}/${stack.linearPlaceholders}/${stack.groupedPlaceholders}`;
  const elements = placeholderElements(groups, key, () => distinctShapes(groups, key, layout, stack));
  return elements * (training.precision.activations === "float32" ? 4 : 2);
}

const placeholderElements = memo<RankWeights, number>();

function distinctShapes(groups: RankWeights, key: string, layout: Layout, stack: MegatronStack): number {
  const all = new Map<string, number>();
  for (const { weights } of groups) {
    const shapes = shapesOf(weights, key, () => {
      const own = new Map<string, number>();
      const add = (out: number, into: number) => own.set(`${out}x${into}`, out * into);
      if (stack.linearPlaceholders) for (const [out, into] of fusedShapes(weights, layout)) add(out, into);
      if (stack.groupedPlaceholders === "shape") {
        for (const w of weights) if (isGrouped(w)) add(...expertShape(w, layout));
      }
      return own;
    });
    for (const [shape, size] of shapes) all.set(shape, size);
  }
  let elements = 0;
  for (const size of all.values()) elements += size;
  return elements;
}

function expertPlaceholders(body: LayerBody, layout: Layout): number {
  let bytes = 0;
  for (const w of bodyWeights(body)) if (isGrouped(w)) bytes += 4 * localElements(w, layout);
  return bytes;
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
  const groups = rankWeights(model, layout, training, ppRank);
  const grouped = groups.some(({ weights }) => weights.some(isGrouped)) ? stack.groupedScratch : 0;
  const placeholder = stack.headPlaceholder === "kept" ? headBytes(model, s, stack) : 0;
  const head = holdsHead ? placeholder + stack.torchScratch : 0;
  // Rotary angles in fp32, one row a token.
  const rotary = 4 * s.tokens * rotaryWidth(model);
  return stack.engineScratch + grouped + head + rotary + placeholders(groups, layout, training, stack);
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
