import { bodyWeights, elements, type Model } from "../model/index.ts";
import { type Layout, stageRank, stageRanks, type Training, worldOf } from "./layout.ts";

/**
 * What it costs to go from one layout to another: for every rank of the new one, which bytes it already holds.
 *
 * Works on shares instead of tensors: on each layer a rank holds an interval of the tensor-parallel direction and an interval of
 * the sharded optimizer state, and for experts an interval of the expert list. Overlap of intervals is what stays.
 */
export type MoveCost = {
  /** State bytes of the whole model: weights, master and moments. */
  readonly totalBytes: number;
  /** Bytes that ranks must receive from others, summed and for the rank that receives most. */
  readonly movedBytes: number;
  readonly worstRankBytes: number;
  /** Bytes that only lost ranks held: they come back from the checkpoint. */
  readonly restoredBytes: number;
  readonly seconds: number;
};

type Interval = readonly [number, number];
const overlap = (a: Interval, b: Interval): number =>
  Math.max(0, Math.min(a[1], b[1]) - Math.max(a[0], b[0]));

type Place = {
  readonly pp: number;
  /** Share of a dense tensor's state this rank owns, as an interval of [0, 1). */
  readonly dense: Interval;
  /** Share of the expert list times the state of each. */
  readonly experts: Interval;
};

/** Owner intervals of a rank; ranks count tp fastest, then cp, data, pipeline; experts fold over the stage. */
function placeOf(layout: Layout, rank: number): Place {
  const stage = stageRanks(layout);
  const inside = rank % stage;
  const tpRank = inside % layout.tp;
  const data = layout.cp * layout.dpShard;
  const dataRank = Math.floor(inside / layout.tp) % data;
  const share = 1 / (layout.tp * data);
  const dense = tpRank / layout.tp + dataRank * share;
  const group = layout.ep * layout.etp;
  const epRank = Math.floor((inside % group) / layout.etp);
  const copies = Math.max(1, stage / group / layout.dpReplicate);
  const copyRank = Math.floor(inside / group) % copies;
  const first = epRank / layout.ep + copyRank / (layout.ep * copies);
  return {
    pp: Math.floor(rank / stage),
    dense: [dense, dense + share],
    experts: [first, first + 1 / (layout.ep * copies)],
  };
}

/**
 * @param survivors device numbers of the old layout that are still there, in order; rank r of the new layout runs on the r-th
 * @param bandwidth bytes/s each rank receives with, and of the checkpoint store per rank
 */
export function moveCost(
  model: Model,
  training: Training,
  from: Layout,
  to: Layout,
  survivors: readonly number[],
  bandwidth: { readonly network: number; readonly store: number },
): MoveCost {
  const { precision, optimizer } = training;
  const moment = precision.moments === "float32" ? 4 : precision.moments === "bfloat16" ? 2 : 1;
  const weight = precision.weights === "float32" ? 4 : precision.weights === "bfloat16" ? 2 : 1;
  const state =
    weight +
    (precision.master === "float32" ? 4 : 0) +
    moment * (optimizer === "adamw" ? 2 : optimizer === "muon" ? 1 : 0);
  const sizes = model.layers.map(({ body }) => {
    let dense = 0;
    let experts = 0;
    for (const w of bodyWeights(body)) {
      if (!w.trained) continue;
      if (w.cut.kind === "expert") experts += elements(w);
      else dense += elements(w);
    }
    return { dense: dense * state, experts: experts * state };
  });
  const owner = (layout: Layout) => {
    const of = new Int32Array(model.layers.length);
    layout.stages.forEach((layers, stage) => {
      for (const layer of layers) of[layer] = stageRank(layout, stage);
    });
    return of;
  };
  const [oldStage, newStage] = [owner(from), owner(to)];
  const world = worldOf(to);
  let moved = 0;
  let worst = 0;
  const kept = {
    dense: new Float64Array(model.layers.length),
    experts: new Float64Array(model.layers.length),
  };
  const lostShare = (layer: number, kind: "dense" | "experts") =>
    Math.max(0, 1 - (kept[kind][layer] as number));
  // What survivors hold of each layer, replicas counted once.
  const copies = Math.max(1, from.dpReplicate);
  for (const rank of survivors) {
    if (rank >= worldOf(from)) continue;
    const place = placeOf(from, rank);
    for (let layer = 0; layer < sizes.length; layer++) {
      if (oldStage[layer] !== place.pp) continue;
      kept.dense[layer] = Math.min(
        1,
        (kept.dense[layer] as number) + (place.dense[1] - place.dense[0]) / copies,
      );
      kept.experts[layer] = Math.min(
        1,
        (kept.experts[layer] as number) + (place.experts[1] - place.experts[0]) / copies,
      );
    }
  }
  for (let rank = 0; rank < world; rank++) {
    const next = placeOf(to, rank);
    const device = survivors[rank];
    const before = device === undefined || device >= worldOf(from) ? undefined : placeOf(from, device);
    let bytes = 0;
    for (let layer = 0; layer < sizes.length; layer++) {
      if (newStage[layer] !== next.pp) continue;
      const size = sizes[layer] as { dense: number; experts: number };
      const same = before !== undefined && oldStage[layer] === before.pp ? before : undefined;
      bytes += size.dense * (next.dense[1] - next.dense[0] - (same ? overlap(next.dense, same.dense) : 0));
      bytes +=
        size.experts * (next.experts[1] - next.experts[0] - (same ? overlap(next.experts, same.experts) : 0));
    }
    moved += bytes;
    worst = Math.max(worst, bytes);
  }
  let total = 0;
  let restored = 0;
  sizes.forEach((size, layer) => {
    total += size.dense + size.experts;
    restored += size.dense * lostShare(layer, "dense") + size.experts * lostShare(layer, "experts");
  });
  restored = Math.min(restored, moved);
  return {
    totalBytes: total,
    movedBytes: moved - restored,
    worstRankBytes: worst,
    restoredBytes: restored,
    seconds: worst / bandwidth.network + restored / world / bandwidth.store,
  };
}
