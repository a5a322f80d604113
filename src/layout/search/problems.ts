import type { Text } from "../../base/index.ts";
import type { Cluster } from "../../cluster/index.ts";
import { clusterDevices } from "../../cluster/index.ts";
import { bodyWeights, type Model, moeOf, type Sublayer } from "../../model/index.ts";
import {
  type Layout,
  microBatches,
  paddedSequences,
  type RecomputeRegion,
  type Schedule,
  stageRanks,
  type Training,
  worldOf,
} from "../layout.ts";
import { standsAlone } from "../memory/saved.ts";
import { scheduleProblem } from "../schedule/index.ts";

/** Whose rules a layout must follow. */
export type Engine = "tessera" | "megatron";

/** Why a layout is out. `memory` and `slower` are found by the search, the others by these rules. */
export type ConstraintName =
  | "world"
  | "batch"
  | "heads"
  | "experts"
  | "stageRanks"
  | "stages"
  | "schedule"
  | "contextParallel"
  | "recompute"
  | "engine"
  | "target"
  | "memory"
  | "hostMemory"
  | "slower";

export type Problem = { readonly constraint: ConstraintName; readonly detail: Text };

export type ModelFacts = {
  readonly layers: number;
  readonly experts: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  /** Common divisor of the lengths on which FSDP cuts tensors of experts (dimension 1); 0 without experts. */
  readonly expertRows: number;
  /** Has DeepSeek-V4's compressed attention, whose single key/value head no tensor parallelism cuts. */
  readonly compressed: boolean;
  /** Regions of the model whose recomputation frees something. */
  readonly regions: ReadonlySet<RecomputeRegion>;
};

export function modelFacts(model: Model): ModelFacts {
  const regions = new Set<RecomputeRegion>(model.streams > 1 ? ["hyperConnection"] : []);
  let experts = 0;
  let heads = 0;
  let keyValueHeads = 0;
  let compressed = false;
  let expertRows = 0;
  const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
  const join = (a: number, b: number) => (a === 0 ? b : gcd(a, b));
  for (const { body } of [...model.layers, ...model.mtp]) {
    const moe = moeOf(body);
    if (moe) experts = join(experts, moe.experts);
    for (const { cut, shape } of bodyWeights(body)) {
      if (cut.kind === "expert") expertRows = join(expertRows, shape[1] as number);
    }
    for (const sublayer of body.sublayers) {
      for (const region of regionsOf(sublayer)) regions.add(region);
      if (sublayer.role !== "attention") continue;
      const { spec } = sublayer;
      heads = join(heads, spec.kind === "linear" ? spec.valueHeads : spec.heads);
      if (spec.kind === "compressed") compressed = true;
      if (spec.kind === "compressed") heads = join(heads, spec.outputGroups);
      if (spec.kind === "grouped") keyValueHeads = join(keyValueHeads, spec.keyValueHeads);
    }
  }
  return { layers: model.layers.length, experts, heads, keyValueHeads, expertRows, compressed, regions };
}

/** What can be run again in a branch. Only latent attention has up-projections to run; other norms are fused into a product. */
function regionsOf({ spec }: Sublayer): RecomputeRegion[] {
  const norm: RecomputeRegion[] = standsAlone(spec.kind) ? ["norm"] : [];
  switch (spec.kind) {
    case "latent":
    case "compressed":
      return [...norm, "attention", "coreAttention", "upProjection"];
    case "grouped":
    case "linear":
      return ["attention", "coreAttention"];
    case "dense":
      return ["mlp"];
    case "moe":
      return [...norm, "moe", "moeActivation", ...(spec.sharedWidth > 0 ? (["sharedExperts"] as const) : [])];
  }
}

const ENGINE_SCHEDULES: Readonly<Record<Engine, readonly Schedule[]>> = {
  // Zero-bubble orders lose gradients with per-layer FSDP2, so our engine does not run them.
  tessera: ["1f1b", "interleaved1f1b"],
  megatron: ["gpipe", "1f1b", "interleaved1f1b", "zbh1", "zbv", "dualpipev"],
};
export const schedulesOf = (engine: Engine): readonly Schedule[] => ENGINE_SCHEDULES[engine];

/** The first rule a layout breaks, most basic first; undefined when it is legal. Memory is not looked at here. */
export function layoutProblem(
  facts: ModelFacts,
  layout: Layout,
  training: Training,
  engine: Engine,
  cluster?: Cluster,
): Problem | undefined {
  const { pp, vpp, tp, cp, ep, etp, dpReplicate, dpShard } = layout;
  for (const [name, value] of Object.entries({ pp, vpp, tp, cp, ep, etp, dpReplicate, dpShard })) {
    if (!Number.isInteger(value) || value < 1)
      return say(
        "world",
        `${name} is ${value}; degrees are whole numbers from 1`,
        `${name} 為 ${value}；並行度須為不小於 1 的整數`,
      );
  }
  const world = worldOf(layout);
  if (cluster && world > clusterDevices(cluster)) {
    return say(
      "world",
      `needs ${world} devices, the cluster has ${clusterDevices(cluster)}`,
      `需要 ${world} 個加速器，叢集只有 ${clusterDevices(cluster)} 個`,
    );
  }
  return (
    degreeProblem(facts, layout, training, engine) ??
    stageProblem(facts, layout) ??
    regionProblem(facts, layout)
  );
}

/** Stacks refuse to start where a module is to run again that the model does not have; a fused norm costs time for nothing. */
function regionProblem(facts: ModelFacts, layout: Layout): Problem | undefined {
  for (const recompute of [layout.recompute, ...(layout.stageRecompute ?? [])]) {
    if (recompute.kind !== "selective") continue;
    const absent = recompute.regions.find((region) => region !== "norm" && !facts.regions.has(region));
    if (absent)
      return say(
        "recompute",
        `${absent} is to be computed again, and the model has none`,
        `要重算 ${absent}，但模型沒有這個部分`,
      );
  }
  return undefined;
}

const say = (constraint: ConstraintName, en: string, zh: string): Problem => ({
  constraint,
  detail: { en, zh },
});

/** Rules on degrees, batch and engine: everything but the stage list. Allocates nothing when all is well. */
export function degreeProblem(
  facts: ModelFacts,
  layout: Layout,
  training: Training,
  engine: Engine,
): Problem | undefined {
  const { pp, vpp, tp, cp, ep, etp, dpReplicate, dpShard } = layout;
  const micros = microBatches(layout, training);
  if (!Number.isInteger(micros) || micros < 1) {
    return say(
      "batch",
      `global batch ${training.globalBatch} is not a multiple of micro-batch ${training.microBatch} x data ${dpReplicate * dpShard}`,
      `全局批次 ${training.globalBatch} 不是微批次 ${training.microBatch} x 資料並行 ${dpReplicate * dpShard} 的倍數`,
    );
  }
  if (training.padBatch !== undefined) {
    const [padded, most] = [paddedSequences(layout, training), training.padBatch * training.globalBatch];
    if (padded > most) {
      return say(
        "batch",
        `${padded} empty sequences would be needed beside ${training.globalBatch}, more than ${Math.floor(most)}`,
        `除 ${training.globalBatch} 個序列外需補 ${padded} 個空序列，超過 ${Math.floor(most)} 個`,
      );
    }
  }
  if (facts.heads % tp !== 0)
    return say(
      "heads",
      `tp ${tp} does not divide ${facts.heads} attention heads`,
      `tp ${tp} 不能整除 ${facts.heads} 個注意力頭`,
    );
  if (facts.keyValueHeads > 0 && tp > facts.keyValueHeads && tp % facts.keyValueHeads !== 0) {
    return say(
      "heads",
      `tp ${tp} is no multiple of ${facts.keyValueHeads} key/value heads`,
      `tp ${tp} 不是 ${facts.keyValueHeads} 個鍵值頭的倍數`,
    );
  }
  if (facts.experts === 0 && ep * etp > 1)
    return say("experts", "the model has no experts to spread", "模型沒有可分散的專家");
  if (facts.experts > 0 && facts.experts % ep !== 0)
    return say(
      "experts",
      `ep ${ep} does not divide ${facts.experts} experts`,
      `ep ${ep} 不能整除 ${facts.experts} 個專家`,
    );
  const { slotsPerRank = facts.experts / ep } = layout;
  if (slotsPerRank * ep < facts.experts || slotsPerRank > facts.experts)
    return say(
      "experts",
      `${slotsPerRank} slots on each of ${ep} ranks do not fit ${facts.experts} experts`,
      `${ep} 個進程各 ${slotsPerRank} 個槽位放不下 ${facts.experts} 個專家`,
    );
  const ranks = stageRanks(layout);
  if (ranks % (ep * etp) !== 0)
    return say(
      "stageRanks",
      `ep ${ep} x etp ${etp} does not divide the ${ranks} ranks of a stage`,
      `ep ${ep} x etp ${etp} 不能整除一個階段的 ${ranks} 個進程`,
    );
  if (engine === "tessera" && dpShard % ep !== 0)
    return say(
      "stageRanks",
      `ep ${ep} does not divide dpShard ${dpShard}`,
      `ep ${ep} 不能整除 dpShard ${dpShard}`,
    );
  if (engine === "tessera" && facts.expertRows % (dpShard / ep) !== 0) {
    return say(
      "engine",
      `FSDP cannot cut experts of ${facts.expertRows} rows over ${dpShard / ep} ranks`,
      `FSDP 無法把 ${facts.expertRows} 列的專家切到 ${dpShard / ep} 個進程`,
    );
  }
  if (training.sequence % (cp * (layout.sequenceParallel ? tp : 1)) !== 0) {
    return say(
      "contextParallel",
      `sequence ${training.sequence} is no multiple of cp ${cp} x tp ${tp}`,
      `序列 ${training.sequence} 不是 cp ${cp} x tp ${tp} 的倍數`,
    );
  }
  if (cp > 1 && layout.contextParallel === "ulysses" && (facts.heads / tp) % cp !== 0) {
    return say(
      "contextParallel",
      `${facts.heads / tp} heads a rank cannot be exchanged over cp ${cp}`,
      `每個進程的 ${facts.heads / tp} 個頭無法在 cp ${cp} 間交換`,
    );
  }
  const schedule = scheduleProblem(layout.schedule, pp, vpp, micros);
  if (schedule) return { constraint: "schedule", detail: schedule };
  if (!ENGINE_SCHEDULES[engine].includes(layout.schedule)) {
    return say(
      "engine",
      `the ${engine} engine does not run ${layout.schedule}`,
      `${engine} 引擎不支援 ${layout.schedule}`,
    );
  }
  if (engine === "megatron" && facts.compressed && tp > 2) {
    return say(
      "engine",
      "Megatron-class stacks run DeepSeek-V4 attention with tp 1 or 2 only",
      "Megatron 類框架的 DeepSeek-V4 注意力只支援 tp 1 或 2",
    );
  }
  if (engine === "tessera") {
    if (tp > 1 || cp > 1 || etp > 1)
      return say(
        "engine",
        "the tessera engine runs tp = cp = etp = 1",
        "tessera 引擎只支援 tp = cp = etp = 1",
      );
    if (layout.zero !== 3)
      return say("engine", "the tessera engine shards weights (zero 3)", "tessera 引擎須切分權重（zero 3）");
    if (layout.recompute.kind === "selective")
      return say(
        "engine",
        "the tessera engine recomputes whole layers or nothing",
        "tessera 引擎只能整層重算或不重算",
      );
    if (layout.offload.optimizer > 0 || layout.offload.activations.length > 0) {
      return say("engine", "the tessera engine does not offload", "tessera 引擎不支援換出");
    }
  }
  return undefined;
}

function stageProblem(facts: ModelFacts, layout: Layout): Problem | undefined {
  const { pp, vpp } = layout;
  if (layout.stages.length !== pp * vpp) {
    return say(
      "stages",
      `${layout.stages.length} stages given, pp ${pp} x vpp ${vpp} needs ${pp * vpp}`,
      `給了 ${layout.stages.length} 個階段，pp ${pp} x vpp ${vpp} 需要 ${pp * vpp} 個`,
    );
  }
  let next = 0;
  for (const stage of layout.stages) {
    for (const layer of stage) {
      if (layer !== next)
        return say(
          "stages",
          `layer ${layer} stands where ${next} should`,
          `第 ${layer} 層占了第 ${next} 層的位置`,
        );
      next++;
    }
  }
  if (next !== facts.layers)
    return say(
      "stages",
      `${next} layers placed, the model has ${facts.layers}`,
      `放置了 ${next} 層，模型有 ${facts.layers} 層`,
    );
  return undefined;
}
