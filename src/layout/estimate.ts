import { err, ok, type Result, TesseraError } from "../base/index.ts";
import { type Cluster, parseCluster, presetCluster } from "../cluster/index.ts";
import { importModel, type Model } from "../model/index.ts";
import { layoutFail } from "./errors.ts";
import {
  BF16_MIXED,
  FLOAT32,
  type Layout,
  type Precision,
  SINGLE,
  type Training,
  worldOf,
} from "./layout.ts";
import type { MemoryReport } from "./memory/types.ts";
import type { PlannedTime } from "./plan.ts";
import { predictMemory } from "./predict.ts";
import { balancedStages, type Engine, fits, layoutName, layoutProblem, modelFacts } from "./search/index.ts";
import { engineTraits, stageHomes, TimeModel, type Traits } from "./time/index.ts";

/** One question to the estimator, read from plain data. Its JSON form stands in docs/en/planner.md. */
export type EstimateCase = {
  readonly name: string;
  readonly model: Model;
  readonly cluster: Cluster;
  readonly engine: Engine;
  readonly layout: Layout;
  readonly training: Training;
  readonly traits: Traits;
};

export type Estimate = {
  readonly name: string;
  readonly layoutName: string;
  readonly layout: Layout;
  readonly training: Training;
  readonly devices: number;
  readonly time: PlannedTime;
  readonly memory: MemoryReport;
  /** Bytes left on the fullest device; negative when the layout does not fit. */
  readonly free: number;
  /** What the device profile rests on. */
  readonly basis: "measured" | "fitted" | "assumed";
};

/** Estimates one case as given, whether it fits or not. */
export function estimate(given: EstimateCase): Estimate {
  const { model, cluster, layout, training, traits } = given;
  const { costs: _costs, ...time } = new TimeModel(model, cluster, training, traits).step(layout, true);
  const homes = stageHomes(cluster, layout);
  const memory = predictMemory(model, layout, training, given.engine, homes, traits);
  return {
    name: given.name,
    layoutName: layoutName(layout, training.microBatch),
    layout,
    training,
    devices: worldOf(layout),
    time,
    memory,
    free: fits(memory, layout, homes, 0).free,
    basis: homes[0]?.device.efficiency.origin ?? "assumed",
  };
}

type Data = Record<string, unknown>;
const CASE_KEYS = ["name", "model", "cluster", "engine", "layout", "training", "traits"] as const;
const LAYOUT_KEYS = [...Object.keys(SINGLE), "stages", "stageRecompute", "slotsPerRank"];
const TRAINING_KEYS = ["sequence", "microBatch", "globalBatch", "precision", "optimizer", "mtp"] as const;
const PRECISIONS: Readonly<Record<string, Precision>> = {
  bf16: BF16_MIXED,
  fp32: FLOAT32,
};

/**
 * Reads a case. Absent degrees are 1, absent dpShard takes the devices that remain, absent stages are balanced by time.
 *
 * @param index place in the list, for errors
 * @param adapt what the caller knows better about the cluster, such as a measured profile
 */
export function readCase(
  data: unknown,
  index = 0,
  adapt: (cluster: Cluster) => Cluster = (cluster) => cluster,
): Result<EstimateCase> {
  try {
    return ok(read(data, index, adapt));
  } catch (cause) {
    if (cause instanceof TesseraError) return err(cause);
    throw cause;
  }
}

function read(data: unknown, index: number, adapt: (cluster: Cluster) => Cluster): EstimateCase {
  const bad = (path: string, problem: string) => layoutFail("ESTIMATE_CASE", { index, path, problem });
  const object = (value: unknown, path: string, keys?: readonly string[]): Data => {
    if (value === null || typeof value !== "object" || Array.isArray(value))
      throw bad(path, "must be an object");
    for (const key of keys ? Object.keys(value) : []) {
      if (!keys?.includes(key))
        throw bad(path ? `${path}.${key}` : key, `unknown key; known: ${keys?.join(", ")}`);
    }
    return value as Data;
  };
  const count = (value: unknown, path: string, fallback?: number): number => {
    if (value === undefined && fallback !== undefined) return fallback;
    if (typeof value !== "number" || !Number.isInteger(value) || value < 1) {
      throw bad(path, value === undefined ? "is missing" : "must be a whole number from 1");
    }
    return value;
  };
  const top = object(data, "", CASE_KEYS);
  const model = unwrapOr(
    importModel(object(top["model"], "model"), { name: String(top["name"] ?? "model") }),
  );
  const cluster = adapt(readCluster(top["cluster"], bad));
  const engine = top["engine"] ?? "megatron";
  if (engine !== "megatron" && engine !== "tessera") throw bad("engine", "must be megatron or tessera");

  const t = object(top["training"], "training", TRAINING_KEYS);
  const given = t["precision"] ?? "bf16";
  const precision =
    typeof given === "string"
      ? PRECISIONS[given]
      : ({
          ...BF16_MIXED,
          ...object(given, "training.precision", Object.keys({ ...BF16_MIXED, experts: 0 })),
        } as Precision);
  if (!precision)
    throw bad("training.precision", `unknown; known: ${Object.keys(PRECISIONS).join(", ")}, or an object`);
  const optimizer = t["optimizer"] ?? "adamw";
  if (optimizer !== "adamw" && optimizer !== "muon" && optimizer !== "sgd") {
    throw bad("training.optimizer", "must be adamw, muon or sgd");
  }
  const training: Training = {
    sequence: count(t["sequence"], "training.sequence"),
    microBatch: count(t["microBatch"], "training.microBatch", 1),
    globalBatch: count(t["globalBatch"], "training.globalBatch"),
    precision,
    optimizer,
    mtp: t["mtp"] === undefined ? model.mtp.length > 0 : t["mtp"] === true,
  };

  const l = object(top["layout"] ?? {}, "layout", LAYOUT_KEYS);
  const degree = (key: string) => count(l[key], `layout.${key}`, 1);
  const world = cluster.groups.reduce((sum, g) => sum + g.nodes * g.devicesPerNode, 0);
  const taken = degree("pp") * degree("tp") * degree("cp") * degree("dpReplicate");
  const draft: Layout = {
    ...SINGLE,
    ...(l as Partial<Layout>),
    pp: degree("pp"),
    vpp: degree("vpp"),
    tp: degree("tp"),
    cp: degree("cp"),
    ep: degree("ep"),
    etp: degree("etp"),
    dpReplicate: degree("dpReplicate"),
    dpShard: count(l["dpShard"], "layout.dpShard", Math.max(1, Math.floor(world / taken))),
    schedule:
      (l["schedule"] as Layout["schedule"] | undefined) ?? (degree("vpp") > 1 ? "interleaved1f1b" : "1f1b"),
    sequenceParallel: l["sequenceParallel"] === undefined ? degree("tp") > 1 : l["sequenceParallel"] === true,
    zero: (l["zero"] as Layout["zero"] | undefined) ?? (engine === "tessera" ? 3 : 1),
    reshardAfterForward:
      typeof l["reshardAfterForward"] === "boolean"
        ? l["reshardAfterForward"]
        : engine !== "tessera" || degree("pp") === 1,
    stages: [],
  };
  if (worldOf(draft) !== world) {
    throw bad("layout", `uses ${worldOf(draft)} devices, the cluster has ${world}`);
  }
  const traits = readTraits(top["traits"], engine, training, bad, object);
  const stages =
    readStages(l["stages"], model, draft, bad) ?? balanced(model, cluster, training, traits, draft, bad);
  const layout = { ...draft, stages };
  const problem = layoutProblem(modelFacts(model), layout, training, engine, cluster);
  if (problem) throw layoutFail("PLAN_ILLEGAL", { detail: problem.detail });
  return { name: String(top["name"] ?? `case ${index}`), model, cluster, engine, layout, training, traits };
}

type Bad = (path: string, problem: string) => TesseraError;

const unwrapOr = <T>(result: Result<T>): T => {
  if (result.ok) return result.value;
  throw result.error;
};

/** `"h100:64"` (preset and devices) or a whole cluster description. */
function readCluster(data: unknown, bad: Bad): Cluster {
  if (typeof data !== "string") return unwrapOr(parseCluster(data));
  const [preset, devices] = data.split(":");
  const cluster = presetCluster(preset ?? "", Number(devices));
  if (!cluster)
    throw bad("cluster", `'${data}' is no preset with a device count of whole nodes, like h100:64`);
  return cluster;
}

/** Stages as lists of layers, or as counts of layers. */
function readStages(data: unknown, model: Model, layout: Layout, bad: Bad): number[][] | undefined {
  if (data === undefined) return undefined;
  if (!Array.isArray(data)) throw bad("layout.stages", "must be a list");
  if (data.every((value) => typeof value === "number")) {
    let next = 0;
    const out = (data as number[]).map((size) => Array.from({ length: size }, () => next++));
    if (next !== model.layers.length) {
      throw bad("layout.stages", `${next} layers placed, the model has ${model.layers.length}`);
    }
    return out;
  }
  if (!data.every((stage) => Array.isArray(stage) && stage.every(Number.isInteger))) {
    throw bad("layout.stages", `must hold ${layout.pp * layout.vpp} layer counts or layer lists`);
  }
  return data as number[][];
}

function balanced(
  model: Model,
  cluster: Cluster,
  training: Training,
  traits: Traits,
  layout: Layout,
  bad: Bad,
): number[][] {
  const homes = stageHomes(cluster, layout);
  const stages = balancedStages(new TimeModel(model, cluster, training, traits), layout, homes);
  if (!stages) throw bad("layout", "its stages cannot be balanced");
  return stages;
}

function readTraits(
  data: unknown,
  engine: Engine,
  training: Training,
  bad: Bad,
  object: (value: unknown, path: string, keys?: readonly string[]) => Data,
): Traits {
  const base = engineTraits(engine, training);
  if (data === undefined) return base;
  const given = object(data, "traits", Object.keys(base));
  for (const [key, value] of Object.entries(given)) {
    const like = base[key as keyof Traits];
    if (typeof value !== typeof like) throw bad(`traits.${key}`, `must be a ${typeof like}`);
  }
  return { ...base, ...given };
}
