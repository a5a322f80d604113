/**
 * The piece map: for every rank the exact slice of every tensor, of its gradient and of its optimizer state.
 *
 * Our engine holds one block of rows of a dense tensor and one block a slot of a tensor of experts, the same for
 * weights, gradients and moments. Megatron's distributed optimizer instead cuts the concatenation of all local tensors
 * of a kind (dense, experts) into equal flat ranges, so a shard may begin inside a tensor.
 */
import { bodyWeights, elements, type Model, type Weight, wordTable } from "../../model/index.ts";
import { type Layout, stageRank, type Training, worldOf } from "../layout.ts";
import { chunkRange, embedsTwice, lastStage, layersOfStage, shardCounts } from "../memory/shards.ts";
import { expertFormat, optimizerBytes, WEIGHT_BYTES } from "../memory/states.ts";
import { expertShards } from "../memory/tessera.ts";
import type { EngineKind } from "../memory/types.ts";
import { type Coordinates, coordinates } from "./coordinates.ts";
import { modelSlices, narrow, type Slice, sliceElements, wholeSlice } from "./slices.ts";

/** What is held of a tensor: boxes of it, or a flat range [from, to) of the elements of the rank's weight boxes in order. */
export type Held =
  | { readonly kind: "slices"; readonly slices: readonly Slice[] }
  | { readonly kind: "flat"; readonly of: readonly Slice[]; readonly from: number; readonly to: number };

export type PlacedTensor = {
  /** Logical name, the same in every layout. */
  readonly name: string;
  readonly weight: Weight;
  /** Pipeline ranks that hold it: two for an embedding used at both ends. */
  readonly ppRanks: readonly number[];
  /** Layer number for tensors of experts (multi-token-prediction modules count on after the layers). */
  readonly layer: number | null;
};

export type Piece = {
  readonly tensor: PlacedTensor;
  readonly weights: Held;
  readonly gradients: Held | null;
  readonly optimizer: Held | null;
};

export type PieceOptions = {
  readonly engine: EngineKind;
  /** Expert of every slot of a layer; absent: slot i holds expert i. */
  readonly placement?: Readonly<Record<string, readonly number[]>>;
};

export type PieceMap = {
  readonly world: number;
  readonly tensors: readonly PlacedTensor[];
  /** Pieces of one rank, empty ones left out. */
  of(rank: number): Piece[];
};

export function pieceMap(model: Model, layout: Layout, training: Training, options: PieceOptions): PieceMap {
  const tensors = placedTensors(model, layout, training);
  return {
    world: worldOf(layout),
    tensors,
    of: (rank) => {
      const at = coordinates(layout, options.engine, rank);
      const mine = tensors.filter(({ ppRanks }) => ppRanks.includes(at.ppRank));
      return options.engine === "tessera"
        ? tesseraPieces(mine, layout, at, options)
        : megatronPieces(mine, layout, at, options);
    },
  };
}

function placedTensors(model: Model, layout: Layout, training: Training): PlacedTensor[] {
  const first = stageRank(layout, 0);
  const last = stageRank(layout, lastStage(layout));
  const both = embedsTwice(model, layout, training);
  const outside = (weights: readonly Weight[], ppRanks: readonly number[]): PlacedTensor[] =>
    weights.map((weight) => ({ name: weight.name, weight, ppRanks, layer: null }));
  const inside = layout.stages.flatMap((_, stage) =>
    layersOfStage(model, layout, training, stage).flatMap(({ prefix, index, body }) =>
      bodyWeights(body).map((weight) => ({
        name: prefix + weight.name,
        weight,
        ppRanks: [stageRank(layout, stage)],
        layer: weight.cut.kind === "expert" ? index : null,
      })),
    ),
  );
  return [
    ...outside(wordTable(model), both ? [first, last] : [first]),
    ...outside(model.embedding.weights.slice(1), [first]),
    ...inside,
    ...outside(model.head.weights, [last]),
  ];
}

function slotsOf(
  tensor: PlacedTensor,
  layout: Layout,
  epRank: number,
  options: PieceOptions,
): readonly number[] {
  const count = tensor.weight.shape[0] as number;
  const each = layout.slotsPerRank ?? count / layout.ep;
  const table = options.placement?.[String(tensor.layer)];
  return Array.from({ length: each }, (_, i) => {
    const slot = epRank * each + i;
    return table ? (table[slot] as number) : slot % count;
  });
}

function tesseraPieces(
  tensors: readonly PlacedTensor[],
  layout: Layout,
  at: Coordinates,
  options: PieceOptions,
): Piece[] {
  return tensors.flatMap((tensor): Piece[] => {
    const { weight } = tensor;
    const all = wholeSlice(weight.shape);
    const whole: Held = { kind: "slices", slices: [all] };
    if (!weight.trained) return [{ tensor, weights: whole, gradients: null, optimizer: null }];
    const slices =
      weight.cut.kind === "expert"
        ? slotsOf(tensor, layout, at.epRank, options).map((expert) => {
            const size = (weight.shape[1] as number) / expertShards(layout);
            const one = narrow(all, 0, expert, expert + 1);
            return narrow(one, 1, at.expertShard * size, (at.expertShard + 1) * size);
          })
        : [narrow(all, 0, ...chunkRange(weight.shape[0] as number, layout.dpShard, at.shard))];
    const held: Held = { kind: "slices", slices: slices.filter((slice) => sliceElements(slice) > 0) };
    return held.slices.length === 0 ? [] : [{ tensor, weights: held, gradients: held, optimizer: held }];
  });
}

function megatronPieces(
  tensors: readonly PlacedTensor[],
  layout: Layout,
  at: Coordinates,
  options: PieceOptions,
): Piece[] {
  const ways = { tp: layout.tp, tpRank: at.tpRank, etp: layout.etp, etpRank: at.etpRank };
  const shards = shardCounts(layout);
  const local = tensors.map((tensor) => {
    const experts = tensor.weight.cut.kind === "expert" ? slotsOf(tensor, layout, at.epRank, options) : [];
    const slices = modelSlices(tensor.weight, ways, experts);
    return { tensor, slices, count: slices.reduce((sum, slice) => sum + sliceElements(slice), 0) };
  });
  const isExpert = (tensor: PlacedTensor) => tensor.weight.cut.kind === "expert";
  const start = { dense: 0, expert: 0 };
  const total = { dense: 0, expert: 0 };
  for (const { tensor, count } of local)
    if (tensor.weight.trained) total[isExpert(tensor) ? "expert" : "dense"] += count;
  return local.map(({ tensor, slices, count }): Piece => {
    const boxes: Held = { kind: "slices", slices };
    if (!tensor.weight.trained) return { tensor, weights: boxes, gradients: null, optimizer: null };
    const kind = isExpert(tensor) ? "expert" : "dense";
    const size = Math.ceil(total[kind] / shards[kind]);
    const mine = kind === "expert" ? at.expertShard : at.shard;
    const from = clamp(mine * size - start[kind], count);
    const to = clamp((mine + 1) * size - start[kind], count);
    start[kind] += count;
    const flat: Held = { kind: "flat", of: slices, from, to };
    return {
      tensor,
      weights: layout.zero >= 3 ? flat : boxes,
      gradients: layout.zero >= 2 ? flat : boxes,
      optimizer: layout.zero >= 1 ? flat : boxes,
    };
  });
}

const clamp = (value: number, most: number): number => Math.min(most, Math.max(0, value));

export const heldElements = (held: Held | null): number =>
  held === null
    ? 0
    : held.kind === "flat"
      ? held.to - held.from
      : held.slices.reduce((sum, slice) => sum + sliceElements(slice), 0);

/** Bytes of a piece by category; weights and optimizer of our engine are float32 whatever it computes in. */
export function pieceBytes(piece: Piece, training: Training, engine: EngineKind) {
  const { weight } = piece.tensor;
  const { precision } = training;
  const expert = weight.cut.kind === "expert";
  const state = engine === "tessera" ? 4 : WEIGHT_BYTES[expert ? expertFormat(precision) : precision.weights];
  const gradient = engine === "tessera" || precision.gradients === "float32" ? 4 : 2;
  const perElement = engine === "tessera" ? 8 : optimizerBytes(training, weight.shape.length > 1);
  return {
    weights: weight.trained ? heldElements(piece.weights) * state : 0,
    gradients: heldElements(piece.gradients) * gradient,
    optimizer: heldElements(piece.optimizer) * perElement,
    buffers: weight.trained ? 0 : elements(weight) * (weight.counted ? 4 : 8),
  };
}
