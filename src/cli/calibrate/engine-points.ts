import { unwrap } from "../../base/index.ts";
import {
  type Cluster,
  type Curve,
  type Device,
  type KernelCurves,
  presetCluster,
  type Sample,
} from "../../cluster/index.ts";
import {
  BF16_MIXED,
  FLOAT32,
  type Layout,
  microBatches,
  SINGLE,
  TimeModel,
  type Training,
  traitsFor,
} from "../../layout/index.ts";
import { importModel, type Model } from "../../model/index.ts";
import type { Machine, Point, Shapes } from "./points.ts";

export type Config = Readonly<Record<string, unknown>>;

/** Whole steps of the engine on one device: what they take beyond single kernels is the cost of everything between those. */
export type EnginePoint = {
  readonly point: Point;
  readonly config: Config;
  readonly layers: number;
  readonly training: Training;
  readonly recompute: "none" | "full";
  readonly part: "passes" | "update";
};

/** The model with its first `layers` layers: lists that name one entry a layer are cut with it. */
export function cutModel(config: Config, layers: number): Config {
  const all = Number(config["num_hidden_layers"]);
  const entries = Object.entries(config).map(([key, value]) => [
    key,
    key === "num_hidden_layers"
      ? layers
      : Array.isArray(value) && value.length === all
        ? value.slice(0, layers)
        : value,
  ]);
  return Object.fromEntries(entries) as Config;
}

/** The same as text. Numbers stay as written: the model classes tell 10.0 from 10. */
export function cutModelText(text: string, layers: number): string {
  const raw = JSON as unknown as { rawJSON(source: string): unknown };
  const read = JSON.parse as (
    text: string,
    each: (key: string, value: unknown, at: { source: string }) => unknown,
  ) => Config;
  const numbers = JSON.parse(text) as Config;
  const kept = read(text, (_, value, { source }) =>
    typeof value === "number" ? raw.rawJSON(source) : value,
  );
  const cut = cutModel({ ...kept, num_hidden_layers: numbers["num_hidden_layers"] }, layers);
  return `${JSON.stringify(cut, null, 2)}\n`;
}

/** Training of `count` micro-batches over all ranks, in the format that the device trains in. */
export const engineTraining = (config: Config, shapes: Shapes, count: number, type: string): Training => ({
  sequence: shapes.sequence,
  microBatch: shapes.microBatch,
  globalBatch: shapes.microBatch * count,
  precision: type === "cpu" ? FLOAT32 : { ...BF16_MIXED, master: "none", weights: "bfloat16" },
  optimizer: "adamw",
  mtp: unwrap(importModel(config as Record<string, unknown>)).mtp.length > 0,
});

/** The same as a worker's spec, as `engine/tessera_engine/spec.py` reads it. */
export const engineSpec = (layout: Config, training: Training, type: string) => ({
  seed: 3,
  threads: 1,
  layout,
  moe: { biasRate: 0.001, sequenceBalanceLoss: 0.0001 },
  mtp: { lossWeight: 0.3 },
  indexer: { lossWeight: 0.01 },
  precision: { param: type === "cpu" ? "float32" : "bfloat16" },
  batch: {
    sequenceLength: training.sequence,
    microBatch: training.microBatch,
    globalBatch: training.globalBatch,
  },
  optimizer: { learningRate: 1e-4, weightDecay: 0.1 },
});

/**
 * Steps over sizes that tell kernels, bytes and fixed costs apart: more micro-batches, shorter rows, fewer layers, recomputation.
 *
 * @param folderOf where the engine finds the configuration with that many layers
 */
export function enginePoints(
  config: Config,
  shapes: Shapes,
  machine: Machine,
  folderOf: (layers: number) => string,
): EnginePoint[] {
  const all = Number(config["num_hidden_layers"]);
  const half = Math.max(1, Math.floor(all / 2));
  const { sequence, microBatch } = shapes;
  const point = (
    layers: number,
    length: number,
    rows: number,
    micros: number,
    recompute: "none" | "full",
    part: "passes" | "update",
  ): EnginePoint => {
    const training = engineTraining(config, { sequence: length, microBatch: rows }, micros, machine.type);
    const stages = [Array.from({ length: layers }, (_, i) => i)];
    const spec = engineSpec({ stages, recompute, reshardAfterForward: false }, training, machine.type);
    const asked = { op: "engine", config: folderOf(layers), spec, part };
    return { point: asked, config: cutModel(config, layers), layers, training, recompute, part };
  };
  const short = Math.max(32, sequence / 2);
  return [
    point(all, sequence, microBatch, 1, "none", "passes"),
    point(half, sequence, microBatch, 1, "none", "passes"),
    point(all, sequence, microBatch, 1, "none", "update"),
    point(all, short, microBatch, 1, "none", "passes"),
    point(all, sequence, microBatch, 2, "none", "passes"),
    point(half, sequence, microBatch, 1, "none", "update"),
    point(all, sequence, microBatch, 1, "full", "passes"),
    point(half, short, Math.max(1, Math.floor(microBatch / 2)), 1, "none", "passes"),
    point(all, short, Math.max(1, Math.floor(microBatch / 2)), 2, "none", "passes"),
    point(half, sequence, 2 * microBatch, 1, "none", "passes"),
  ];
}

const NOTHING: Curve = { terms: [0, 0, 0, 0, 0, 0], points: 0, median: 0, worst: 0 };
const curve = (...terms: number[]): Curve => ({ ...NOTHING, terms });

/** Seconds of the passes of a step under these kernels and no communication. */
export function passSeconds(model: Model, one: EnginePoint, kernels: KernelCurves): number {
  const cluster = presetCluster("cpu", 1) as Cluster;
  const group = cluster.groups[0] as Cluster["groups"][number];
  const device: Device = { ...group.device, measured: kernels };
  const here: Cluster = { ...cluster, groups: [{ ...group, device }] };
  const layout: Layout = {
    ...SINGLE,
    zero: 3,
    reshardAfterForward: false,
    recompute: { kind: one.recompute },
    stages: [model.layers.map((_, i) => i)],
  };
  const [terms] = new TimeModel(model, here, one.training, traitsFor(one.training)).stages.stageTerms(layout);
  if (!terms) return 0;
  const { forward, backward, weight, recompute } = terms;
  const sum = [forward, backward, weight, recompute].flatMap((t) => [...t]).reduce((a, b) => a + b, 0);
  return sum * microBatches(layout, one.training);
}

/**
 * Features of a measured step: kernels and bytes of element-wise code, seconds of attention as its kernel alone would have it. What
 * products take is known. The engine's attention is not that kernel (windows, compressed entries, an indexer), so whole steps say
 * at what pace it does the same products.
 */
export function engineSample(one: EnginePoint, seconds: number, kernels: KernelCurves): Sample {
  const model = unwrap(importModel(one.config as Record<string, unknown>));
  const zero = { fp32: NOTHING, bf16: NOTHING };
  const nothing = {
    gemm: zero,
    grouped: zero,
    attentionForward: NOTHING,
    attentionBackward: NOTHING,
    stream: curve(0, 0),
  };
  const { attentionForward = NOTHING, attentionBackward = NOTHING } = kernels;
  return {
    seconds,
    known: passSeconds(model, one, { ...nothing, ...pick(kernels) }),
    features: [
      passSeconds(model, one, { ...nothing, stream: curve(1, 0) }),
      passSeconds(model, one, { ...nothing, stream: curve(0, 1) }),
      passSeconds(model, one, { ...nothing, attentionForward, attentionBackward }),
    ],
  };
}

const pick = ({ gemm, grouped }: KernelCurves) => ({
  ...(gemm ? { gemm } : {}),
  ...(grouped ? { grouped } : {}),
});

/** A curve of the same shape, `times` as high. */
export const scaledCurve = (of: Curve, times: number): Curve => ({
  ...of,
  terms: of.terms.map((t) => t * times),
});
