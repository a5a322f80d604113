import { err, ok, type Result, TesseraError } from "../base/index.ts";
import { type Cluster, clusterDevices, parseCluster, presetCluster, WIRINGS } from "../cluster/index.ts";
import { importModel, type Model } from "../model/index.ts";
import { CaseReader, type Data } from "./case-reader.ts";
import { layoutFail } from "./errors.ts";
import {
  BF16_MIXED,
  type Layout,
  type Offload,
  type Precision,
  type Recompute,
  RECOMPUTE_REGIONS,
  SCHEDULES,
  SINGLE,
  type Training,
  worldOf,
} from "./layout.ts";
import { PRECISIONS } from "./precision.ts";
import { balancedStages, type Engine, layoutProblem, modelFacts } from "./search/index.ts";
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

const CASE_KEYS = [
  "name",
  "model",
  "override",
  "cluster",
  "engine",
  "layout",
  "training",
  "traits",
  // Kept by whoever compares with a measurement; not read here.
  "measured",
  "notes",
] as const;
const LAYOUT_KEYS = [...Object.keys(SINGLE), "stages", "stageRecompute", "slotsPerRank"];
const TRAINING_KEYS = [
  "sequence",
  "microBatch",
  "globalBatch",
  "microBatches",
  "precision",
  "optimizer",
  "mtp",
  "capacityFactor",
] as const;
/** Stacks by the ZeRO level they run unless told otherwise. All but our own follow the Megatron-class rules. */
const STACKS = {
  megatron: 1,
  mindspeed: 1,
  bridge: 1,
  fsdp2: 3,
  torchtitan: 3,
  automodel: 3,
  veomni: 3,
  tessera: 3,
} as const satisfies Readonly<Record<string, Layout["zero"]>>;
type Stack = keyof typeof STACKS;
const STACK_NAMES = Object.keys(STACKS) as Stack[];
const WEIGHT_FORMATS = ["float32", "bfloat16", "fp8", "mxfp8", "fp4"] as const;

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
  const r = new CaseReader(index);
  const top = r.object(data, "", CASE_KEYS);
  const name = String(top["name"] ?? `case ${index}`);
  const config = { ...r.object(top["model"], "model"), ...r.object(top["override"] ?? {}, "override") };
  const model = unwrapOr(importModel(config, { name }));
  const cluster = adapt(readCluster(top["cluster"], r));
  const stack = r.oneOf(top["engine"], "engine", STACK_NAMES, "megatron");
  const engine: Engine = stack === "tessera" ? "tessera" : "megatron";
  const { layout: draft, traits: formats, training } = readTraining(r, top, model, stack, cluster);
  const traits = readTraits(r, top["traits"], engineTraits(engine, training, formats));
  const l = r.object(top["layout"] ?? {}, "layout");
  const stages =
    readStages(r, l["stages"], model, draft) ?? balanced(r, model, cluster, training, traits, draft);
  const layout = { ...draft, stages };
  const problem = layoutProblem(modelFacts(model), layout, training, engine, cluster);
  if (problem) {
    throw layoutFail("PLAN_ILLEGAL", { detail: problem.detail.en, detailZh: problem.detail.zh, index });
  }
  return { name, model, cluster, engine, layout, training, traits };
}

const unwrapOr = <T>(result: Result<T>): T => {
  if (result.ok) return result.value;
  throw result.error;
};

function readTraining(r: CaseReader, top: Data, model: Model, stack: Stack, cluster: Cluster) {
  const t = r.object(top["training"], "training", TRAINING_KEYS);
  const { precision, traits } = readPrecision(r, t["precision"]);
  const layout = readLayout(r, top["layout"] ?? {}, stack, cluster);
  const microBatch = r.count(t["microBatch"], "training.microBatch", 1);
  const data = layout.dpReplicate * layout.dpShard;
  if (t["globalBatch"] !== undefined && t["microBatches"] !== undefined) {
    throw r.bad("training.microBatches", "says again what globalBatch says; give one of them");
  }
  const globalBatch =
    t["microBatches"] === undefined
      ? r.count(t["globalBatch"], "training.globalBatch")
      : r.count(t["microBatches"], "training.microBatches") * microBatch * data;
  const training: Training = {
    sequence: r.count(t["sequence"], "training.sequence"),
    microBatch,
    globalBatch,
    precision,
    optimizer: r.oneOf(t["optimizer"], "training.optimizer", ["adamw", "muon", "sgd"] as const, "adamw"),
    mtp: r.flag(t["mtp"], "training.mtp", model.mtp.length > 0),
    ...(t["capacityFactor"] === undefined
      ? {}
      : { capacityFactor: r.number(t["capacityFactor"], "training.capacityFactor", 1, 1000) }),
  };
  return { layout, training, traits };
}

/** A name, or an object whose absent fields are those of bf16 training. */
function readPrecision(r: CaseReader, given: unknown): { precision: Precision; traits: Partial<Traits> } {
  if (given === undefined || typeof given === "string") {
    const names = Object.keys(PRECISIONS) as (keyof typeof PRECISIONS)[];
    return PRECISIONS[r.oneOf(given, "training.precision", names, "bf16")];
  }
  const p = r.object(given, "training.precision", [...Object.keys(BF16_MIXED), "experts"]);
  const at = (key: string) => `training.precision.${key}`;
  const floats = ["float32", "bfloat16"] as const;
  const precision: Precision = {
    weights: r.oneOf(p["weights"], at("weights"), WEIGHT_FORMATS, "bfloat16"),
    ...(p["experts"] === undefined
      ? {}
      : { experts: r.oneOf(p["experts"], at("experts"), WEIGHT_FORMATS, "bfloat16") }),
    gradients: r.oneOf(p["gradients"], at("gradients"), floats, "float32"),
    master: r.oneOf(p["master"], at("master"), ["float32", "remainder", "none"] as const, "float32"),
    moments: r.oneOf(p["moments"], at("moments"), ["float32", "bfloat16", "fp8"] as const, "float32"),
    activations: r.oneOf(p["activations"], at("activations"), floats, "bfloat16"),
    dispatch: r.oneOf(p["dispatch"], at("dispatch"), ["bfloat16", "float32", "fp8"] as const, "bfloat16"),
  };
  return { precision, traits: {} };
}

/** Everything but the stage list. */
function readLayout(r: CaseReader, data: unknown, stack: Stack, cluster: Cluster): Layout {
  const l = r.object(data, "layout", LAYOUT_KEYS);
  const degree = (key: string) => r.count(l[key], `layout.${key}`, 1);
  const [pp, vpp, tp, cp] = [degree("pp"), degree("vpp"), degree("tp"), degree("cp")];
  const dpReplicate = degree("dpReplicate");
  const world = clusterDevices(cluster);
  const rest = world / (pp * tp * cp * dpReplicate);
  if (l["dpShard"] === undefined && !Number.isInteger(rest)) {
    throw r.bad(
      "layout",
      `pp ${pp} x tp ${tp} x cp ${cp} x dpReplicate ${dpReplicate} does not divide the ${world} devices of the cluster`,
    );
  }
  const zero = r.oneOf(l["zero"], "layout.zero", [0, 1, 2, 3] as const, STACKS[stack]);
  const recomputes = l["stageRecompute"];
  const layout: Layout = {
    pp,
    vpp,
    tp,
    cp,
    dpReplicate,
    dpShard: r.count(l["dpShard"], "layout.dpShard", rest),
    ep: degree("ep"),
    etp: degree("etp"),
    sequenceParallel: r.flag(l["sequenceParallel"], "layout.sequenceParallel", tp > 1),
    contextParallel: r.oneOf(
      l["contextParallel"],
      "layout.contextParallel",
      ["ring", "allGather", "ulysses"] as const,
      SINGLE.contextParallel,
    ),
    zero,
    // Our engine keeps weights gathered between the passes of a pipeline.
    reshardAfterForward: r.flag(
      l["reshardAfterForward"],
      "layout.reshardAfterForward",
      stack !== "tessera" || pp === 1,
    ),
    schedule: r.oneOf(l["schedule"], "layout.schedule", SCHEDULES, vpp > 1 ? "interleaved1f1b" : "1f1b"),
    stages: [],
    recompute: readRecompute(r, l["recompute"], "layout.recompute"),
    ...(recomputes === undefined
      ? {}
      : {
          stageRecompute: r
            .list(recomputes, "layout.stageRecompute", pp * vpp)
            .map((one, i) => readRecompute(r, one, `layout.stageRecompute[${i}]`)),
        }),
    ...(l["slotsPerRank"] === undefined
      ? {}
      : { slotsPerRank: r.count(l["slotsPerRank"], "layout.slotsPerRank") }),
    offload: readOffload(r, l["offload"]),
  };
  if (worldOf(layout) > world) {
    throw r.bad("layout", `uses ${worldOf(layout)} devices, the cluster has ${world}`);
  }
  return layout;
}

/** `"none"`, `"full"`, a list of regions, or the layout's own form. */
function readRecompute(r: CaseReader, given: unknown, path: string): Recompute {
  if (given === undefined || given === "none") return { kind: "none" };
  if (given === "full") return { kind: "full" };
  const regions = (list: unknown, at: string): Recompute => ({
    kind: "selective",
    regions: r.list(list, at).map((region, i) => r.oneOf(region, `${at}[${i}]`, RECOMPUTE_REGIONS)),
  });
  if (Array.isArray(given)) return regions(given, path);
  const o = r.object(given, path, ["kind", "layers", "regions"]);
  const kind = r.oneOf(o["kind"], `${path}.kind`, ["none", "full", "selective"] as const);
  if (kind === "selective") return regions(o["regions"], `${path}.regions`);
  if (kind === "none" || o["layers"] === undefined) return { kind };
  return { kind, layers: r.count(o["layers"], `${path}.layers`) };
}

/** Shares of what waits on the host; `true` moves all of the optimizer. */
function readOffload(r: CaseReader, given: unknown): Offload {
  if (given === undefined) return SINGLE.offload;
  const o = r.object(given, "layout.offload", ["optimizer", "activations"]);
  const share = o["optimizer"] === true ? 1 : o["optimizer"] === false ? 0 : (o["optimizer"] ?? 0);
  const regions = [...RECOMPUTE_REGIONS, "layerInput"] as const;
  return {
    optimizer: r.number(share, "layout.offload.optimizer", 0, 1),
    activations: r
      .list(o["activations"] ?? [], "layout.offload.activations")
      .map((region, i) => r.oneOf(region, `layout.offload.activations[${i}]`, regions)),
  };
}

/** `"h100:64"` (preset and devices), `"h100:32+a100:32"` on an ordinary network, or a whole cluster description. */
function readCluster(data: unknown, r: CaseReader): Cluster {
  if (typeof data !== "string") return unwrapOr(parseCluster(data));
  const groups = data.split("+").map((part) => {
    const [id, devices] = part.trim().split(":");
    const count = Number(devices);
    const whole = presetCluster(id ?? "", count);
    const perNode = WIRINGS[id ?? ""]?.perNode;
    if (whole) return whole;
    if (perNode === undefined || !Number.isInteger(count) || count < 1) {
      throw r.bad("cluster", `'${part}' is no preset with a device count, like h100:64`);
    }
    // Not whole nodes: as many of each node as divide the count.
    let used = perNode;
    while (count % used !== 0) used--;
    const base = presetCluster(id as string, perNode) as Cluster;
    return {
      ...base,
      name: `${count} x ${base.groups[0]?.device.title}`,
      groups: base.groups.map((group) => ({ ...group, devicesPerNode: used, nodes: count / used })),
    };
  });
  const [first] = groups as [Cluster, ...Cluster[]];
  if (groups.length === 1) return first;
  return {
    ...first,
    name: groups.map(({ name }) => name).join(" + "),
    groups: groups.flatMap((cluster) => cluster.groups),
    between: {
      name: "RoCE",
      span: Number.POSITIVE_INFINITY,
      bandwidth: 12.5e9,
      efficiency: 0.8,
      latency: 20e-6,
    },
  };
}

/** Stages as lists of layers, or as counts of layers; a stage may be empty. */
function readStages(r: CaseReader, data: unknown, model: Model, layout: Layout): number[][] | undefined {
  if (data === undefined) return undefined;
  const count = layout.pp * layout.vpp;
  const list = r.list(data, "layout.stages", count);
  if (list.every((value) => typeof value === "number")) {
    let next = 0;
    const out = list.map((size, i) =>
      Array.from({ length: r.whole(size, `layout.stages[${i}]`) }, () => next++),
    );
    if (next !== model.layers.length) {
      throw r.bad("layout.stages", `${next} layers placed, the model has ${model.layers.length}`);
    }
    return out;
  }
  return list.map((stage, i) =>
    r.list(stage, `layout.stages[${i}]`).map((layer, j) => r.whole(layer, `layout.stages[${i}][${j}]`)),
  );
}

function balanced(
  r: CaseReader,
  model: Model,
  cluster: Cluster,
  training: Training,
  traits: Traits,
  layout: Layout,
): number[][] {
  const homes = stageHomes(cluster, layout);
  const stages = balancedStages(new TimeModel(model, cluster, training, traits), layout, homes);
  if (!stages) {
    throw r.bad(
      "layout",
      `${model.layers.length} layers cannot be spread over ${layout.pp * layout.vpp} stages`,
    );
  }
  return stages;
}

function readTraits(r: CaseReader, data: unknown, base: Traits): Traits {
  if (data === undefined) return base;
  const given = r.object(data, "traits", Object.keys(base));
  const formats = ["fp32", "bf16", "fp8", "fp4"] as const;
  const out: Data = { ...base };
  for (const [key, value] of Object.entries(given)) {
    const path = `traits.${key}`;
    const like = base[key as keyof Traits];
    if (typeof like === "boolean") out[key] = r.flag(value, path, like);
    else if (typeof like === "string") out[key] = r.oneOf(value, path, formats);
    else if (key === "imbalance") out[key] = r.number(value, path, 1, 1e4);
    else if (/^overlap(Tensor|Expert)$/.test(key)) out[key] = r.number(value, path, 0, 1);
    else out[key] = r.number(value, path, 0, 1e6);
  }
  return out as Traits;
}
