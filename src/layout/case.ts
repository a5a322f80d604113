import { err, ok, type Result, TesseraError } from "../base/index.ts";
import { type Cluster, clusterDevices, namedCluster, parseCluster } from "../cluster/index.ts";
import { type ImportOptions, importModel, knownConfig, type Model } from "../model/index.ts";
import { caseFault, checkedCase } from "./case-faults.ts";
import type { CaseData } from "./case-schema.ts";
import { layoutFail } from "./errors.ts";
import { importPlan } from "./export/index.ts";
import { formatFault } from "./formats.ts";
import {
  BF16_MIXED,
  type Layout,
  type Offload,
  type Precision,
  type Recompute,
  SINGLE,
  type Training,
  worldOf,
} from "./layout.ts";
import { FSDP2_STACK, type MegatronStack } from "./memory/index.ts";
import { PRECISIONS } from "./precision.ts";
import { balancedStages, type Engine, layoutProblem, modelFacts } from "./search/index.ts";
import { STACKS, stackTraits, TORCH_STACKS } from "./stacks.ts";
import { engineTraits, stageHomes, TimeModel, type Traits } from "./time/index.ts";

/** One question to the estimator, read from plain data. `case-schema.ts` says what it may hold. */
export type EstimateCase = {
  readonly name: string;
  readonly model: Model;
  readonly cluster: Cluster;
  readonly engine: Engine;
  /** Whose allocations memory counts, where they are not the engine's newest. */
  readonly memoryStack?: MegatronStack;
  readonly layout: Layout;
  readonly training: Training;
  readonly traits: Traits;
};

/** A config.json and where it came from. */
export type CaseModel = { readonly config: unknown; readonly source?: ImportOptions };

export type CaseOptions = {
  /** Place in the list, for errors. */
  readonly index?: number;
  /** What the caller knows better about the cluster, such as a measured profile. */
  readonly adapt?: (cluster: Cluster) => Cluster;
  /** The config that a text names; without this only well-known models have one. */
  readonly find?: (name: string) => CaseModel;
  /** The text of a file that settings name. */
  readonly open?: (path: string) => string;
};

/** Reads a case. Absent degrees are 1, absent dpShard takes the devices that remain, absent stages are balanced by time. */
export function readCase(data: unknown, options: CaseOptions = {}): Result<EstimateCase> {
  try {
    return ok(read(data, options));
  } catch (cause) {
    if (cause instanceof TesseraError) return err(cause);
    throw cause;
  }
}

/** Complains about a value of this case. */
type Bad = (path: string, en: string, zh: string) => TesseraError;

function read(data: unknown, options: CaseOptions): EstimateCase {
  const { index = 0, adapt = (cluster: Cluster) => cluster } = options;
  const bad: Bad = (path, en, zh) => caseFault(index, path, { en, zh });
  const given = checkedCase(data, index);
  const name = given.name ?? `case ${index}`;
  const model = inCase(index, "model", () => readModel(given, name, options, bad));
  const cluster = inCase(index, "cluster", () => adapt(unwrapOr(clusterOf(given.cluster))));
  const stack = given.settings?.target ?? given.engine;
  const engine: Engine = stack === "tessera" ? "tessera" : "megatron";
  const {
    layout: draft,
    training,
    formats,
  } = given.settings
    ? inCase(index, "settings", () => readSettings(given, model, cluster, options, bad))
    : readPlain(given, model, cluster, bad);
  const traits = {
    ...engineTraits(engine, training, formats),
    ...stackTraits(stack, model, cluster),
    ...defined<Traits>(given.traits),
  };
  const layout =
    draft.stages.length > 0
      ? draft
      : { ...draft, stages: balanced(bad, model, cluster, training, traits, draft) };
  const problem = layoutProblem(modelFacts(model), layout, training, engine, cluster);
  if (problem) {
    const { en, zh } = problem.detail;
    throw inCaseError(layoutFail("PLAN_ILLEGAL", { detail: en, detailZh: zh }), index, "layout");
  }
  const fault = formatFault(stageHomes(cluster, layout), traits, training.precision);
  if (fault) throw inCaseError(fault, index, "training");
  const memoryStack = TORCH_STACKS.has(stack) ? { memoryStack: FSDP2_STACK } : {};
  return { name, model, cluster, engine, ...memoryStack, layout, training, traits };
}

/** The value, or its error with the case and the key that it came from. */
function inCase<T>(index: number, at: string, value: () => T): T {
  try {
    return value();
  } catch (cause) {
    throw cause instanceof TesseraError && cause.code !== "ESTIMATE_CASE"
      ? inCaseError(cause, index, at)
      : cause;
  }
}

/** `key` is where the value stands in the case: as deep as the error itself says. */
function inCaseError(error: TesseraError, index: number, at: string): TesseraError {
  const { message } = error.entry;
  const inner = error.params["field"] ?? error.params["path"];
  const key = inner === undefined ? at : `${at}.${inner}`;
  const entry = {
    ...error.entry,
    message: { en: `case {index}, ${at}: ${message.en}`, zh: `第 {index} 例，${at}：${message.zh}` },
  };
  return new TesseraError(error.code, entry, { ...error.params, index, key }, error.place, error);
}

/** The values that are there: an option that is absent leaves the default alone. */
const defined = <T>(values: { readonly [K in keyof T]?: T[K] | undefined }): Partial<T> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>;

const unwrapOr = <T>(result: Result<T>): T => {
  if (result.ok) return result.value;
  throw result.error;
};

function readModel(given: CaseData, name: string, options: CaseOptions, bad: Bad): Model {
  const found: CaseModel =
    typeof given.model === "string"
      ? (options.find ?? ((known) => ({ config: knownConfig(known) })))(given.model)
      : { config: given.model };
  if (found.config === undefined) {
    throw bad(
      "model",
      `'${String(given.model)}' is no well-known model`,
      `「${String(given.model)}」不是常見模型`,
    );
  }
  const config = isObject(found.config) ? { ...found.config, ...given.override } : found.config;
  return unwrapOr(importModel(config, { ...found.source, name }));
}

/** Cases may leave a part of a node's devices out. */
const clusterOf = (given: CaseData["cluster"]): Result<Cluster> =>
  typeof given === "string" ? namedCluster(given, true) : parseCluster(given);

const isObject = (value: unknown): value is object =>
  value !== null && typeof value === "object" && !Array.isArray(value);

/** What settings must say, however they say it. */
const NEEDED = [
  ...Object.keys(SINGLE),
  "stages",
  "sequence",
  "microBatch",
  "globalBatch",
  "precision",
  "optimizer",
  "mtp",
  ...Object.keys(BF16_MIXED),
];

/** What another stack was told, read as its own reader does. */
function readSettings(given: CaseData, model: Model, cluster: Cluster, options: CaseOptions, bad: Bad) {
  const { target, text, file } = given.settings as NonNullable<CaseData["settings"]>;
  if (given.training !== undefined) {
    throw bad("training", "says again what settings says; give one of them", "與 settings 重複；請擇一");
  }
  if ((text === undefined) === (file === undefined) || (file !== undefined && !options.open)) {
    throw bad("settings", "needs text or file, one of them", "須有 text 或 file 其一");
  }
  const read = text ?? (options.open as (path: string) => string)(file as string);
  const world = clusterDevices(cluster);
  const { layout, training, products, dispatcher } = unwrapOr(
    importPlan(read, target, { world, layers: model.layers.length }),
  );
  // What a stack's file may leave out or say oddly is held against the same schema.
  const told: Readonly<Record<string, unknown>> = { ...layout, ...training, ...training.precision };
  const absent = NEEDED.find((name) => told[name] === undefined);
  if (absent) throw bad("settings", `${absent} is missing`, `缺少 ${absent}`);
  checkedCase({ model: "read", cluster: "read", layout, training }, options.index ?? 0);
  checkWorld(layout, world, bad);
  const formats: Partial<Traits> = {
    ...(products ? { compute: products, expertCompute: products } : {}),
    ...(dispatcher ? { deduplicate: true } : {}),
  };
  return { layout, training: { ...training, mtp: training.mtp && model.mtp.length > 0 }, formats };
}

/** What the case says itself. */
function readPlain(given: CaseData, model: Model, cluster: Cluster, bad: Bad) {
  if (given.training === undefined) {
    throw bad("training", "is missing: give it, or settings", "缺少：請給它或 settings");
  }
  const layout = readLayout(given, cluster, bad);
  const stages = readStages(given.layout.stages, model, layout, bad) ?? [];
  return { layout: { ...layout, stages }, ...readTraining(given.training, layout, model, bad) };
}

function checkWorld(layout: Layout, world: number, bad: Bad): void {
  const used = worldOf(layout);
  if (used <= world) return;
  throw bad(
    "layout",
    `uses ${used} devices, the cluster has ${world}`,
    `用到 ${used} 個加速器，叢集只有 ${world} 個`,
  );
}

function readTraining(t: NonNullable<CaseData["training"]>, layout: Layout, model: Model, bad: Bad) {
  const { precision: named, microBatches, globalBatch, mtp, capacityFactor, padBatch, ...plain } = t;
  if (globalBatch !== undefined && microBatches !== undefined) {
    throw bad(
      "training.microBatches",
      "says again what globalBatch says; give one of them",
      "與 globalBatch 重複；請擇一",
    );
  }
  const batch =
    microBatches === undefined
      ? globalBatch
      : microBatches * plain.microBatch * layout.dpReplicate * layout.dpShard;
  if (batch === undefined) {
    throw bad("training.globalBatch", "is missing: give it, or microBatches", "缺少：請給它或 microBatches");
  }
  const { precision, traits: formats }: { precision: Precision; traits: Partial<Traits> } =
    typeof named === "string" ? PRECISIONS[named] : { precision: full(named), traits: {} };
  const training: Training = {
    ...plain,
    globalBatch: batch,
    precision,
    mtp: mtp ?? model.mtp.length > 0,
    ...(capacityFactor === undefined ? {} : { capacityFactor }),
    ...(padBatch === undefined ? {} : { padBatch }),
  };
  return { training, formats };
}

type Formats = Exclude<NonNullable<CaseData["training"]>["precision"], string>;
const full = ({ experts, ...rest }: Formats): Precision =>
  experts === undefined ? rest : { ...rest, experts };

/** Everything but the stage list. */
function readLayout({ layout: l, engine: stack }: CaseData, cluster: Cluster, bad: Bad): Layout {
  const { pp, vpp, tp, cp, dpReplicate, ep, etp, contextParallel } = l;
  const world = clusterDevices(cluster);
  const rest = world / (pp * tp * cp * dpReplicate);
  if (l.dpShard === undefined && !Number.isInteger(rest)) {
    throw bad(
      "layout",
      `pp ${pp} x tp ${tp} x cp ${cp} x dpReplicate ${dpReplicate} does not divide the ${world} devices of the cluster`,
      `pp ${pp} x tp ${tp} x cp ${cp} x dpReplicate ${dpReplicate} 無法整除叢集的 ${world} 個加速器`,
    );
  }
  const stages = pp * vpp;
  sized(l.stageRecompute, "layout.stageRecompute", stages, bad);
  sized(l.stages, "layout.stages", stages, bad);
  const layout: Layout = {
    pp,
    vpp,
    tp,
    cp,
    dpReplicate,
    dpShard: l.dpShard ?? rest,
    ep,
    etp,
    contextParallel,
    sequenceParallel: l.sequenceParallel ?? tp > 1,
    zero: l.zero ?? STACKS[stack],
    // FSDP2 stacks keep weights gathered between the passes of a pipeline.
    reshardAfterForward: l.reshardAfterForward ?? (STACKS[stack] !== 3 || pp === 1),
    schedule: l.schedule ?? (vpp > 1 ? "interleaved1f1b" : "1f1b"),
    stages: [],
    recompute: readRecompute(l.recompute),
    ...(l.stageRecompute === undefined ? {} : { stageRecompute: l.stageRecompute.map(readRecompute) }),
    ...(l.slotsPerRank === undefined ? {} : { slotsPerRank: l.slotsPerRank }),
    offload: readOffload(l.offload),
  };
  checkWorld(layout, world, bad);
  return layout;
}

function sized(list: readonly unknown[] | undefined, path: string, length: number, bad: Bad): void {
  if (list === undefined || list.length === length) return;
  throw bad(
    path,
    `has ${list.length} entries, pp x vpp needs ${length}`,
    `有 ${list.length} 項，pp x vpp 需要 ${length} 項`,
  );
}

/** `"none"`, `"full"`, a list of regions, or the layout's own form. */
function readRecompute(given: CaseData["layout"]["recompute"]): Recompute {
  if (given === "none" || given === "full") return { kind: given };
  if (Array.isArray(given)) return { kind: "selective", regions: given };
  if (given.kind !== "full" || given.layers === undefined) return given as Recompute;
  return { kind: "full", layers: given.layers };
}

/** Shares of what waits on the host; `true` moves all of the optimizer. */
const readOffload = (given: CaseData["layout"]["offload"]): Offload =>
  given === undefined ? SINGLE.offload : { ...given, optimizer: Number(given.optimizer) };

/** Stages as lists of layers, or as counts of layers; a stage may be empty. */
function readStages(
  list: CaseData["layout"]["stages"],
  model: Model,
  layout: Layout,
  bad: Bad,
): number[][] | undefined {
  if (list === undefined) return undefined;
  const { length } = model.layers;
  let next = 0;
  const stages = list.map((stage, i) => {
    if (typeof stage !== "number") return stage;
    if (next + stage > length) {
      throw bad(`layout.stages[${i}]`, ...countText(next + stage, length));
    }
    return Array.from({ length: stage }, () => next++);
  });
  const placed = stages.reduce((sum, stage) => sum + stage.length, 0);
  if (placed !== length && list.every((stage) => typeof stage === "number")) {
    throw bad("layout.stages", ...countText(placed, length));
  }
  return stages;
}

const countText = (placed: number, length: number): [string, string] => [
  `${placed} layers placed, the model has ${length}`,
  `放了 ${placed} 層，模型有 ${length} 層`,
];

function balanced(
  bad: Bad,
  model: Model,
  cluster: Cluster,
  training: Training,
  traits: Traits,
  layout: Layout,
): number[][] {
  const homes = stageHomes(cluster, layout);
  const stages = balancedStages(new TimeModel(model, cluster, training, traits), layout, homes);
  if (stages) return stages;
  const count = layout.pp * layout.vpp;
  throw bad(
    "layout",
    `${model.layers.length} layers cannot be spread over ${count} stages`,
    `${model.layers.length} 層無法分到 ${count} 個階段`,
  );
}
