import { collectiveSeconds, curveSeconds, type CollectiveKind, type Span } from "../../cluster/index.ts";
import {
  bodyWeights,
  elements,
  type LayerBody,
  type Model,
  type Weight,
  wordTable,
} from "../../model/index.ts";
import { expertData, type Layout, stageRank, type Training } from "../layout.ts";
import type { StageHome } from "./devices.ts";

/** Parameters on one rank of a stage: outside the experts, and inside. */
export type StageParameters = {
  readonly dense: number;
  readonly expert: number;
  readonly largestLayer: number;
  /** Layers of the rank: FSDP exchanges each by itself, its experts apart from the rest. */
  readonly layers: number;
};

const GRADIENT = { float32: 4, bfloat16: 2 } as const;
const MOMENT = { float32: 4, bfloat16: 2, fp8: 1 } as const;
const WEIGHT = { float32: 4, bfloat16: 2, fp8: 1, mxfp8: 1, fp4: 0.5 } as const;

type Sizes = { dense: number; expert: number };
const perBody = new WeakMap<LayerBody, Map<string, Sizes>>();

function sizesOf(weights: readonly Weight[], layout: Layout): Sizes {
  let dense = 0;
  let expert = 0;
  for (const weight of weights) {
    if (!weight.trained) continue;
    const size = elements(weight);
    if (weight.cut.kind === "expert")
      expert += size / (layout.ep * (weight.cut.dim === null ? 1 : layout.etp));
    else dense += weight.cut.kind === "tensor" ? size / layout.tp : size;
  }
  return { dense, expert };
}

function bodySizes(body: LayerBody, layout: Layout): Sizes {
  const key = `${layout.tp}/${layout.ep}/${layout.etp}`;
  let known = perBody.get(body);
  if (!known) {
    known = new Map();
    perBody.set(body, known);
  }
  let sizes = known.get(key);
  if (!sizes) {
    sizes = sizesOf(bodyWeights(body), layout);
    known.set(key, sizes);
  }
  return sizes;
}

/** Trained parameters on each pipeline rank. */
export function stageParameters(model: Model, layout: Layout, mtp: boolean): StageParameters[] {
  const out = Array.from({ length: layout.pp }, () => ({ dense: 0, expert: 0, largestLayer: 0, layers: 0 }));
  const add = (rank: number, sizes: Sizes) => {
    const to = out[rank] as (typeof out)[number];
    to.dense += sizes.dense;
    to.expert += sizes.expert;
    to.largestLayer = Math.max(to.largestLayer, sizes.dense + sizes.expert);
    to.layers++;
  };
  layout.stages.forEach((layers, stage) => {
    const rank = stageRank(layout, stage);
    if (stage === 0) add(rank, sizesOf(model.embedding.weights, layout));
    for (const index of layers)
      add(rank, bodySizes((model.layers[index] as Model["layers"][number]).body, layout));
    if (stage === layout.stages.length - 1) {
      add(rank, sizesOf(model.head.weights, layout));
      if (model.tied && layout.stages.length > 1) add(rank, sizesOf(wordTable(model), layout));
      for (const { body } of mtp ? model.mtp : []) add(rank, bodySizes(body, layout));
    }
  });
  return out;
}

/** Work outside the pipeline on one rank: exchange of gradients and weights, optimizer, swap. Seconds. */
export type StateSeconds = {
  /** Whole exchange, whether hidden or not, and the part of it before the first forward (weights). */
  readonly gradients: number;
  readonly weights: number;
  readonly optimizer: number;
  readonly swap: number;
  /** ZeRO-3 only: gathers and scatters of every micro-batch, per forward and per backward of the whole rank. */
  readonly gatherForward: number;
  readonly gatherBackward: number;
};

export function stateSeconds(
  parameters: StageParameters,
  layout: Layout,
  training: Training,
  home: StageHome,
  reduceOnce = false,
): StateSeconds {
  const { precision, optimizer } = training;
  const { device, wires } = home;
  const gradient = GRADIENT[precision.gradients];
  // FSDP2 gathers in the format it computes in.
  const gathered = layout.zero === 3 && precision.activations === "bfloat16" ? 2 : 4;
  const weight = Math.min(WEIGHT[precision.weights], gathered);
  const data = layout.dpShard * layout.cp;
  const expertRanks = expertData(layout);
  const expertShard = Math.max(1, Math.round(expertRanks / layout.dpReplicate));
  const parts = [
    {
      size: parameters.dense,
      shard: { size: data, stride: layout.tp },
      copies: layout.dpReplicate,
      stride: layout.tp * data,
    },
    {
      size: parameters.expert,
      shard: { size: expertShard, stride: layout.ep * layout.etp },
      copies: layout.dpReplicate,
      stride: layout.ep * layout.etp * expertShard,
    },
  ];
  let gradients = 0;
  let weights = 0;
  let gatherForward = 0;
  let gatherBackward = 0;
  // Measured collectives include their start, so it matters in how many pieces the bytes travel.
  const pieces = wires.measured ? Math.max(1, parameters.layers) : 1;
  const exchange = (kind: CollectiveKind, bytes: number, span: Span) =>
    pieces * collectiveSeconds(wires, kind, bytes / pieces, span);
  for (const { size, shard, copies, stride } of parts) {
    const bytes = size * gradient;
    if (layout.zero === 0) {
      gradients += collectiveSeconds(wires, "allReduce", bytes, {
        size: shard.size * copies,
        stride: shard.stride,
      });
      continue;
    }
    const scatter = exchange("reduceScatter", bytes, shard);
    const gather = exchange("allGather", size * weight, shard);
    if (copies > 1)
      gradients += collectiveSeconds(wires, "allReduce", bytes / shard.size, { size: copies, stride });
    if (layout.zero === 3) {
      if (layout.reshardAfterForward) gatherForward += gather;
      else weights += gather;
      gatherBackward += (layout.reshardAfterForward ? gather : 0) + (reduceOnce ? 0 : scatter);
      if (reduceOnce) gradients += scatter;
    } else {
      gradients += scatter;
      weights += gather;
    }
  }
  const owned =
    parameters.dense / (layout.zero === 0 ? 1 : data) +
    parameters.expert / (layout.zero === 0 ? 1 : expertShard);
  const moment = MOMENT[precision.moments];
  const master = precision.master === "float32" ? 4 : precision.master === "remainder" ? 2 : 0;
  const states = optimizer === "adamw" ? 2 * moment : optimizer === "muon" ? moment : 0;
  // Gradient read, states and master read and written; then master read again for the weights it is rounded to.
  const update = gradient + 2 * (states + master) + master + weight;
  // The norm reads the owned gradients, and clipping reads and writes them.
  const clip = 3 * gradient;
  // All local gradients are cleared, and scaled from sums over data ranks to means in place, the experts' too.
  const local = gradient * (data * layout.dpReplicate > 1 ? 3 : 1);
  const bytes = owned * (update + clip) + (parameters.dense + parameters.expert) * local;
  const stream = bytes / (device.memoryBandwidth * device.efficiency.memory);
  const ortho = optimizer === "muon" ? muonSeconds(owned, device.peak.bf16 * device.efficiency.gemm) : 0;
  const swapped = owned * (states + master) * layout.offload.optimizer;
  return {
    gradients,
    weights,
    optimizer: device.measured?.optimizer
      ? curveSeconds(device.measured.optimizer, [1, owned])
      : stream + ortho,
    // In and out travel at once; the first slice in and the last slice out cannot.
    swap: swapped / device.hostBandwidth,
    gatherForward,
    gatherBackward,
  };
}

/** Newton-Schulz in five rounds on square-like matrices of this many parameters: 5 * (4 r^2 c + 2 r^3) FLOPs, r near 4096. */
const muonSeconds = (owned: number, speed: number): number => (owned * 5 * 6 * 4096) / speed;
