import { type Model, moeOf } from "../../model/index.ts";
import type { WorkerLayout } from "../controller/spec.ts";
import type { Recipe } from "../recipe/index.ts";
import type { ExpertTopology } from "./types.ts";

/** Bytes a parameter takes to move: fp32 weight and AdamW's two moments, as the engine keeps them. */
const BYTES_PER_PARAMETER = 12;
const WIDTH = { float32: 4, bfloat16: 2 } as const;

/** Topology of a training; nothing when the model has no experts or they all stand on one rank. */
export function topologyOf(
  layout: WorkerLayout,
  model: Model,
  recipe: Pick<Recipe, "batch" | "precision">,
  ranksPerNode: number,
): ExpertTopology | undefined {
  const moe = [...model.layers, ...model.mtp].flatMap((layer) => moeOf(layer.body) ?? [])[0];
  const { ep, pp } = layout;
  if (!moe || ep < 2) return undefined;
  const dataRanks = layout.dpReplicate * layout.dpShard;
  const nodes = ranksPerNode >= ep || ep % ranksPerNode !== 0 ? 1 : ep / ranksPerNode;
  const limited = moe.groups?.count ?? 1;
  const width = WIDTH[recipe.precision.param];
  const projections = moe.gated ? 2 : 1;
  return {
    world: pp * layout.tp * layout.cp * dataRanks,
    pp,
    ep,
    groups: dataRanks / ep,
    nodes,
    routerGroups: nodes > 1 && limited % nodes === 0 ? limited : 1,
    microBatches: recipe.batch.globalBatch / (dataRanks * recipe.batch.microBatch),
    bytesPerExpert:
      ((projections + 1) * moe.expertHidden * moe.width * BYTES_PER_PARAMETER) / (layout.dpShard / ep),
    rowBytes: moe.expertHidden * width,
    savedBytesPerRow: (2 * moe.expertHidden + (projections + 1) * moe.width) * width,
    inFlight: Math.min(pp * layout.vpp, recipe.batch.globalBatch / (dataRanks * recipe.batch.microBatch)),
    recompute: layout.recompute === "full",
    microBatch: recipe.batch.microBatch,
  };
}
