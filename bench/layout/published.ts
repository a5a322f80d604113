/** Published runs as cases of ours: model, cluster, layout and how the stack computed, as far as a row says. */
import { unwrap } from "../../src/base/index.ts";
import {
  ASSUMED,
  atPace,
  type Cluster,
  type Device,
  type Efficiency,
  presetCluster,
} from "../../src/cluster/index.ts";
import {
  BF16_MIXED,
  evenStages,
  type Layout,
  layoutProblem,
  MEGATRON_TRAITS,
  modelFacts,
  type Recompute,
  SINGLE,
  type Stack,
  stackTraits,
  stageHomes,
  TimeModel,
  type Training,
  type Traits,
} from "../../src/layout/index.ts";
import { balancedStages } from "../../src/layout/search/index.ts";
import { importModel, knownConfig, type Model } from "../../src/model/index.ts";
import { reasonFor, recipeRecompute, type Row, setAside, stackOf, withoutMtp } from "./published-stacks.ts";
import { readCsv, sharedFile } from "./shared.ts";

const DEVICES: readonly (readonly [RegExp, string, number])[] = [
  [/^H100 96GB/, "h100-500w", 1],
  [/^H100$/, "h100", 1],
  [/^H200$/, "h200", 1],
  [/^H800$/, "h800", 1],
  [/^A100/, "a100", 1],
  [/^B200$/, "b200", 1],
  [/^B300$/, "b300", 1],
  [/^GB200$/, "gb200", 1],
  [/^GB300$/, "gb300", 1],
  [/^MI355X$/, "mi355x", 1],
  [/^MI325X$/, "mi325x", 1],
  [/^Ascend 910C/, "910c", 2],
];
/** Models of the table by names that the planner knows. */
const MODELS: readonly (readonly [RegExp, string])[] = [
  [/DeepSeek.?V4.?Flash/i, "DeepSeek-V4-Flash"],
  [/DeepSeek.?V4.?Pro/i, "DeepSeek-V4-Pro"],
  [/DeepSeek.?V3\.2/i, "DeepSeek-V3.2"],
  [/DeepSeek.?V3/i, "DeepSeek-V3"],
  [/Qwen3.235B/i, "Qwen3-235B-A22B"],
  [/Qwen3.30B/i, "Qwen3-30B-A3B"],
  [/Qwen3-8B/i, "Qwen3-8B"],
  [/Llama.?3\.1.405B/i, "Llama-3.1-405B"],
  [/LLAMA.?3(\.1)?.70B/i, "Llama-3.1-70B"],
  [/Llama.?3(\.1)?.8B/i, "Llama-3.1-8B"],
  [/Kimi.?K2/i, "Kimi-K2"],
  [/Mixtral-8x22B/i, "Mixtral-8x22B"],
  [/GPT.?OSS.20B/i, "gpt-oss-20b"],
  [/GPT.?OSS.120B/i, "gpt-oss-120b"],
  [/GLM-5\.2/i, "GLM-5.2"],
];

type Run = {
  readonly label: string;
  readonly row: Row;
  readonly device: string;
  readonly dies: number;
  readonly model: Model;
  readonly seconds: number;
};

const cache = new Map<string, Model | undefined>();
function modelOf(name: string): Model | undefined {
  if (!cache.has(name)) {
    const whole = !/cut|single layer|LoRA/.test(name);
    const known = whole ? MODELS.find(([pattern]) => pattern.test(name))?.[1] : undefined;
    cache.set(name, known ? unwrap(importModel(knownConfig(known), { name })) : undefined);
  }
  return cache.get(name);
}

/** A model of the published table by its name there. */
export function modelNamed(name: string): Model {
  const model = modelOf(name);
  if (!model) throw new Error(`no config for ${name}`);
  return model;
}

/** The stack that a row's source names. */
const stackNamed = (source: string): Stack =>
  /Bridge/.test(source)
    ? "bridge"
    : /Automodel/.test(source)
      ? "automodel"
      : /torchtitan|Nebius/i.test(source)
        ? "torchtitan"
        : "megatron";

/** @param plain nothing of the stack but its name: no recipe, no release */
function caseOf(
  run: Run,
  cluster: Cluster,
  plain: boolean,
): { layout: Layout; training: Training; traits: Traits } | string {
  const { row, model } = run;
  const n = (key: string, fallback: number) => (row[key] ? Number(row[key]) : fallback);
  const world = n("cards", 0) * run.dies;
  const fsdp =
    /FSDP/i.test(row["optim_shard"] ?? "") || /Automodel|torchtitan|Nebius/i.test(row["source"] ?? "");
  for (const key of ["mbs", "gbs"]) if (!row[key]) return "whose batch is not printed";
  if (!row["pp"] && !fsdp) return "whose layout is not printed";
  const [pp, tp, cp] = [n("pp", 1), n("tp", 1), n("cp", 1)];
  const sequence = n("seq", /Llama/.test(row["model"] ?? "") ? 8192 : 4096);
  const data = world / (pp * tp * cp);
  const microBatch = n("mbs", 1);
  const globalBatch = n("gbs", microBatch * data);
  // The source counts layers of a virtual stage, or stages, as the stack does; only whole interleaving is used here.
  let vpp = pp > 1 ? n("vpp", 1) : 1;
  if ((globalBatch / (microBatch * data)) % pp !== 0) vpp = 1;
  const recomputeText = row["recompute"] || (plain ? "" : recipeRecompute(row));
  const recompute: Recompute = /full|activation_checkpointing on/.test(recomputeText)
    ? { kind: "full" }
    : /selective AC/.test(recomputeText)
      ? { kind: "selective", regions: ["norm", "mlp"] }
      : /selective/.test(recomputeText)
        ? {
            kind: "selective",
            regions: [
              /mla_up/.test(recomputeText) ? "upProjection" : "norm",
              ...(/mla_up_proj$|mlp/.test(recomputeText) ? [] : (["moeActivation"] as const)),
              ...(/mhc/.test(recomputeText) ? (["hyperConnection"] as const) : []),
              ...(/mlp/.test(recomputeText) ? (["mlp"] as const) : []),
            ],
          }
        : { kind: "none" };
  const format = row["precision"] ?? "";
  const compute = /NVFP4/.test(format)
    ? "fp4"
    : /FP8/.test(format) || (format === "" && /Bridge/.test(row["source"] ?? ""))
      ? "fp8"
      : "bf16";
  const layout: Layout = {
    ...SINGLE,
    pp,
    vpp,
    tp,
    cp,
    // Rows that name an expert dispatcher but print no ep: configs beside them spread the experts over a node.
    ep: n(
      "ep",
      /Automodel/.test(row["source"] ?? "") && /DeepEP/.test(row["notes"] ?? "") ? Math.min(world, 8) : 1,
    ),
    etp: n("etp", 1),
    dpShard: data,
    sequenceParallel: tp > 1,
    contextParallel: cp > 1 ? "ring" : "allGather",
    zero: fsdp ? 3 : 1,
    reshardAfterForward: pp === 1,
    schedule: vpp > 1 ? "interleaved1f1b" : "1f1b",
    stages: evenStages(model.layers.length, pp * vpp),
    recompute,
    offload: { optimizer: /swap/.test(row["optim_shard"] ?? "") ? 1 : 0, activations: [] },
  };
  const training: Training = {
    sequence,
    microBatch,
    globalBatch,
    // Recipes of this source sum and exchange gradients in bf16 (`grad_reduce_in_fp32 = False` in all of them).
    precision: {
      ...BF16_MIXED,
      dispatch: "bfloat16",
      ...(/Bridge/.test(row["source"] ?? "") ? { gradients: "bfloat16" as const } : {}),
    },
    optimizer: "adamw",
    mtp:
      model.mtp.length > 0 &&
      !/w\/o MTP/.test(row["model"] ?? "") &&
      /DeepSeek|GLM/.test(row["model"] ?? "") &&
      (plain || !withoutMtp(row)),
  };
  const stack = plain
    ? { ...MEGATRON_TRAITS, ...stackTraits(stackNamed(row["source"] ?? ""), model, cluster) }
    : stackOf(row, model);
  const traits: Traits = { ...stack, compute, expertCompute: compute };
  const problem = layoutProblem(modelFacts(model), layout, training, "megatron");
  return problem
    ? `with a layout the row does not fully give (${problem.constraint})`
    : { layout, training, traits };
}

/**
 * Kernels of the tuned stacks these rows come from, as presets assume them before they are given a pace; only the B200 preset, fitted
 * on one eager stack, says otherwise. The factor is the pace.
 */
const tuned = (device: Device): Efficiency => {
  if (device.vendor === "huawei") return device.efficiency;
  const { gemm, groupedGemm, attentionForward, attentionBackward, memory, unfused } = ASSUMED;
  const { launchSeconds, halfDimension, lowPrecision } = ASSUMED;
  const kernels = { gemm, groupedGemm, attentionForward, attentionBackward, memory, unfused };
  return { ...device.efficiency, ...kernels, launchSeconds, halfDimension, lowPrecision };
};

const scaled = (cluster: Cluster, factor: number, plain: boolean): Cluster => ({
  ...cluster,
  groups: cluster.groups.map((group) => {
    const efficiency = atPace(plain ? group.device.efficiency : tuned(group.device), factor);
    return { ...group, device: { ...group.device, efficiency } };
  }),
});

export type RunResult = {
  readonly label: string;
  readonly error: number;
  readonly reason: string;
  /** What the run asks for, release and stack not counted: equal for runs that only software tells apart. */
  readonly asked: string;
  readonly seconds: number;
};
export type DeviceResult = {
  readonly id: string;
  readonly anchor: string;
  readonly factor: number;
  readonly runs: readonly RunResult[];
  readonly aside: readonly RunResult[];
  /** Errors of every run under an anchor of another model family; none where a device has one family. */
  readonly unseen: readonly number[];
  /** Errors of every run without any anchor. */
  readonly free: readonly number[];
};

/** Precision as the roofline sees it: granularities of scales are one format. */
const askedOf = ({ row, device }: Run): string => {
  const name = (row["model"] ?? "").toLowerCase().replace(/[^a-z0-9.]/g, "");
  const bits = /NVFP4/.test(row["precision"] ?? "") ? 4 : /BF16/.test(row["precision"] ?? "") ? 16 : 8;
  const layout = ["cards", "tp", "cp", "pp", "ep", "mbs", "gbs", "seq"].map((key) => row[key] || "1");
  return [device, name, ...layout, bits].join("/");
};

/** @param plain as a user asks who knows what the row prints and which stack it ran, on the device's preset as it is */
export function publishedRuns(plain = false): { devices: DeviceResult[]; skipped: Map<string, number> } {
  const skipped = new Map<string, number>();
  const skip = (why: string) => skipped.set(why, (skipped.get(why) ?? 0) + 1);
  const runs = new Map<string, Run>();
  for (const row of readCsv(sharedFile("published_runs.csv"))) {
    if (/SimuMax/.test(row["source"] ?? "")) continue;
    const metric = row["metric"] ?? "";
    if (
      !["step_time", "tokens_per_s_per_gpu", "tokens_per_s_total", "tokens_per_s_per_card"].includes(metric)
    )
      continue;
    const found = DEVICES.find(([pattern]) => pattern.test(row["device"] ?? ""));
    const key = [
      "source",
      "model",
      "device",
      "cards",
      "tp",
      "cp",
      "pp",
      "vpp",
      "ep",
      "mbs",
      "gbs",
      "seq",
      "precision",
      "recompute",
      "notes",
    ]
      .map((c) => row[c])
      .join("|");
    if (runs.has(key)) continue;
    const value = Number(row["value"]);
    const cards = Number(row["cards"]);
    const model = modelOf(row["model"] ?? "");
    if (
      !found ||
      !model ||
      !cards ||
      !value ||
      /starting point|before tuning|baseline/.test(row["notes"] ?? "")
    ) {
      skip(
        !found
          ? "on devices without preset"
          : !model
            ? "of models without a config here"
            : !cards
              ? "without a device count"
              : "before tuning",
      );
      continue;
    }
    const sequence = Number(row["seq"]) || 8192;
    const batch =
      Number(row["gbs"]) ||
      (Number(row["mbs"]) || 1) *
        (cards / ((Number(row["tp"]) || 1) * (Number(row["cp"]) || 1) * (Number(row["pp"]) || 1)));
    const tokens = sequence * batch;
    const seconds =
      metric === "step_time"
        ? value
        : metric === "tokens_per_s_total"
          ? tokens / value
          : tokens / value / cards;
    const label = `${row["model"]} ${cards} cards tp${row["tp"] || 1} pp${row["pp"] || 1} ep${row["ep"] || 1} ${row["precision"] || "?"} (${(row["notes"] ?? "").slice(0, 34)})`;
    runs.set(key, { label, row, device: found[1], dies: found[2], model, seconds });
  }
  const byDevice = Map.groupBy(runs.values(), (run) => run.device);
  const devices: DeviceResult[] = [];
  for (const [id, list] of byDevice) {
    const cases = list.flatMap((run) => {
      const base = presetCluster(id, Number(run.row["cards"]) * run.dies);
      const made = base ? caseOf(run, base, plain) : "on part of a node";
      if (typeof made === "string" || !base) {
        skip(made as string);
        return [];
      }
      // Local batches that are accumulated fill and drain the pipeline each; gradients and optimizer come once.
      const passes =
        made.layout.pp > 1 ? Number(/grad-accum (\d+)/.exec(run.row["notes"] ?? "")?.[1] ?? 1) : 1;
      const local: Training = { ...made.training, globalBatch: made.training.globalBatch / passes };
      const stepAt = (factor: number) => {
        const cluster = scaled(base, factor, plain);
        const time = new TimeModel(run.model, cluster, local, made.traits);
        const stages =
          balancedStages(time, made.layout, stageHomes(cluster, made.layout)) ?? made.layout.stages;
        const { seconds, breakdown } = time.step({ ...made.layout, stages });
        const once = breakdown.data + breakdown.optimizer;
        return { seconds: passes * seconds - (passes - 1) * once, breakdown };
      };
      const predict = (factor: number) => stepAt(factor).seconds;
      const { seconds, breakdown } = stepAt(1);
      const bound = breakdown.host / seconds;
      return [{ run, predict, ratio: seconds / run.seconds, bound, aside: setAside(run.row) }];
    });
    const scored = cases.filter((c) => !c.aside);
    if (scored.length === 0) continue;
    type Case = (typeof cases)[number];
    const anchorOf = (among: readonly Case[]): { anchor: Case; factor: number } => {
      // A run that waits for its host says little of the device.
      const telling = among.filter((c) => c.bound < 0.1);
      const byRatio = (telling.length > 0 ? telling : among).toSorted((a, b) => a.ratio - b.ratio);
      const anchor = byRatio[byRatio.length >> 1] as Case;
      let [low, high] = [0.05, 20];
      for (let i = 0; i < 40; i++) {
        const middle = Math.sqrt(low * high);
        if (anchor.predict(middle) > anchor.run.seconds) low = middle;
        else high = middle;
      }
      return { anchor, factor: Math.sqrt(low * high) };
    };
    const { anchor, factor } = anchorOf(scored);
    const unseen = [...Map.groupBy(scored, ({ run }) => run.model.modelType)].flatMap(([family, own]) => {
      const others = scored.filter(({ run }) => run.model.modelType !== family);
      if (others.length === 0) return [];
      const foreign = anchorOf(others).factor;
      return own.map((c) => c.predict(foreign) / c.run.seconds - 1);
    });
    const result = ({ run, predict, aside }: (typeof cases)[number]): RunResult => {
      const error = predict(factor) / run.seconds - 1;
      const reason = aside ?? reasonFor(run.row, error);
      return { label: run.label, error, reason, asked: askedOf(run), seconds: run.seconds };
    };
    devices.push({
      id,
      anchor: anchor.run.label,
      factor,
      runs: scored.filter((c) => c !== anchor).map(result),
      aside: cases.filter((c) => c.aside).map(result),
      unseen,
      free: scored.map(({ ratio }) => ratio - 1),
    });
  }
  return { devices, skipped };
}

/**
 * Mean error that no model can go below which gives one answer to one question: runs that ask for the same differ among
 * themselves, and the best single answer for each group still misses them by this much. 0 for runs that are alone.
 */
export function irreducible(runs: readonly RunResult[]): { floor: number; rows: number; widest: string } {
  let missed = 0;
  let rows = 0;
  let widest = { ratio: 1, asked: "" };
  for (const [asked, group] of Map.groupBy(runs, (run) => run.asked)) {
    if (group.length < 2) continue;
    rows += group.length;
    const off = (answer: number) =>
      group.reduce((sum, { seconds }) => sum + Math.abs(answer / seconds - 1), 0);
    // The sum is piecewise linear in the answer, so one of the group's own times is best.
    missed += Math.min(...group.map(({ seconds }) => off(seconds)));
    const times = group.map(({ seconds }) => seconds);
    const ratio = Math.max(...times) / Math.min(...times);
    if (ratio > widest.ratio) widest = { ratio, asked };
  }
  return { floor: missed / runs.length, rows, widest: `${widest.asked} (x${widest.ratio.toFixed(2)})` };
}
