import {
  type Layout,
  type OptimizerKind,
  type Precision,
  type RecomputeRegion,
  type Schedule,
  SINGLE,
  worldOf,
} from "../layout.ts";
import { type Keys, KeyReader, need, pairs, type ReadContext, type Settings, stagesOf } from "./settings.ts";

/**
 * Argument names of Megatron-LM (core 0.16 and later). MindSpeed-LLM takes most of them and adds its own; Megatron-Bridge takes the
 * same fields on a configuration container. One mapping serves the three.
 */
export type MegatronFlavour = "megatron" | "mindspeed";

const REGIONS = pairs<RecomputeRegion>(
  {
    coreAttention: "core_attn",
    upProjection: "mla_up_proj",
    norm: "layernorm",
    mlp: "mlp",
    moe: "moe",
    moeActivation: "moe_act",
    sharedExperts: "shared_experts",
    hyperConnection: "mhc",
  },
  { en: "recomputation of", zh: "重算" },
);
const OFFLOAD = pairs<RecomputeRegion>(
  { coreAttention: "core_attn", moeActivation: "moe_act", norm: "attn_norm", moe: "expert_fc1" },
  { en: "activation offload of", zh: "換出激活" },
);
const CONTEXT = pairs<Layout["contextParallel"]>(
  { ring: "p2p", allGather: "all_gather", ulysses: "a2a" },
  { en: "context parallelism", zh: "上下文並行" },
);
const MINDSPEED_CONTEXT = pairs<Layout["contextParallel"]>(
  { ring: "megatron_cp_algo", allGather: "kvallgather_cp_algo", ulysses: "ulysses_cp_algo" },
  { en: "context parallelism", zh: "上下文並行" },
);
const OPTIMIZER = pairs<OptimizerKind>(
  { adamw: "adam", muon: "muon", sgd: "sgd" },
  { en: "optimizer", zh: "優化器" },
);
const MOMENT = pairs<Precision["moments"]>(
  { float32: "fp32", bfloat16: "bf16", fp8: "fp8" },
  { en: "moments", zh: "動量格式" },
);
const SCHEDULES = new Set<Schedule>(["1f1b", "interleaved1f1b"]);

export function toMegatron(settings: Settings, flavour: MegatronFlavour): Keys {
  const { layout, training } = settings;
  const { precision } = training;
  const keys: Keys = {
    "tensor-model-parallel-size": layout.tp,
    "pipeline-model-parallel-size": layout.pp,
    "context-parallel-size": layout.cp,
    "expert-model-parallel-size": layout.ep,
    "expert-tensor-parallel-size": layout.etp,
    "micro-batch-size": training.microBatch,
    "global-batch-size": training.globalBatch,
    "seq-length": training.sequence,
    "max-position-embeddings": training.sequence,
    optimizer: OPTIMIZER.to(training.optimizer),
    "moe-token-dispatcher-type": settings.dispatcher ?? "alltoall",
    "moe-grouped-gemm": true,
  };
  if (settings.dispatcher) {
    need(
      flavour === "megatron",
      "a dispatcher that sends a token once to a rank",
      "對同一進程只送一次的分發",
    );
    keys["moe-flex-dispatcher-backend"] = "deepep";
  }
  if (layout.sequenceParallel) keys["sequence-parallel"] = true;
  else
    need(
      layout.tp === 1 || layout.ep === 1,
      "tensor with expert parallelism but without sequence parallelism",
      "張量與專家並行同用而無序列並行",
    );
  if (layout.cp > 1) {
    if (flavour === "mindspeed") {
      keys["context-parallel-algo"] = MINDSPEED_CONTEXT.to(layout.contextParallel);
    } else keys["cp-comm-type"] = CONTEXT.to(layout.contextParallel);
  }
  writePipeline(layout, training.mtp, keys, flavour);
  writeSharding(layout, keys);
  writeRecompute(layout, keys, flavour);
  need(layout.slotsPerRank === undefined, "spare expert slots", "備用的專家槽位");
  writePrecision(precision, training.optimizer, keys);
  writeProducts(settings, keys, flavour);
  if (training.mtp) keys["mtp-num-layers"] = 1;
  return keys;
}

function writePipeline(layout: Layout, mtp: boolean, keys: Keys, flavour: MegatronFlavour): void {
  const sizes = layout.stages.map((stage) => stage.length);
  if (flavour === "mindspeed") {
    need(
      SCHEDULES.has(layout.schedule) || layout.schedule === "dualpipev",
      `the ${layout.schedule} schedule`,
      `${layout.schedule} 排程`,
    );
    if (layout.schedule === "dualpipev") keys["schedules-method"] = "dualpipev";
    const slots = Math.max(...sizes);
    keys["num-layers"] = slots * sizes.length;
    const empty = sizes.flatMap((size, s) =>
      Array.from({ length: slots - size }, (_, i) => s * slots + size + i),
    );
    if (empty.length > 0) keys["noop-layers"] = empty.join(",");
    if (layout.vpp > 1 && layout.schedule !== "dualpipev")
      keys["num-layers-per-virtual-pipeline-stage"] = slots;
    return;
  }
  need(SCHEDULES.has(layout.schedule), `the ${layout.schedule} schedule`, `${layout.schedule} 排程`);
  keys["num-layers"] = sizes.reduce((a, b) => a + b, 0);
  // The layout string says how many virtual stages a rank has; saying it twice is refused.
  if (layout.pp > 1) {
    keys["pipeline-model-parallel-layout"] = sizes
      .map(
        (size, s) =>
          `${s === 0 ? "E" : ""}${"t".repeat(size)}${s === sizes.length - 1 ? `${mtp ? "m" : ""}L` : ""}`,
      )
      .join("|");
  }
}

function writeSharding(layout: Layout, keys: Keys): void {
  if (layout.zero === 1) keys["use-distributed-optimizer"] = true;
  if (layout.zero >= 2) {
    keys["use-megatron-fsdp"] = true;
    keys["data-parallel-sharding-strategy"] = layout.zero === 2 ? "optim_grads" : "optim_grads_params";
    need(
      layout.zero === 2 || layout.reshardAfterForward,
      "weights that stay gathered after the forward pass",
      "前向後仍保持聚合的權重",
    );
  }
  if (layout.dpReplicate > 1) {
    need(layout.zero >= 1, "replicas of an optimizer that is not sharded", "未切分優化器的副本");
    keys["num-distributed-optimizer-instances"] = layout.dpReplicate;
  }
}

function writeRecompute(layout: Layout, keys: Keys, flavour: MegatronFlavour): void {
  const { recompute, offload } = layout;
  need(layout.stageRecompute === undefined, "recomputation that differs by stage", "各階段不同的重算");
  if (recompute.kind === "full") {
    keys["recompute-granularity"] = "full";
    keys["recompute-method"] = recompute.layers === undefined ? "uniform" : "block";
    keys["recompute-num-layers"] = recompute.layers ?? 1;
  } else if (recompute.kind === "selective") {
    keys["recompute-granularity"] = "selective";
    keys["recompute-modules"] = recompute.regions.map((region) => REGIONS.to(region));
  }
  if (offload.optimizer > 0) {
    if (flavour === "mindspeed") {
      need(offload.optimizer === 1, "a part of the optimizer on the host", "只有部分優化器在主機");
      keys["swap-optimizer"] = true;
    } else {
      keys["optimizer-cpu-offload"] = true;
      keys["optimizer-offload-fraction"] = offload.optimizer;
    }
  }
  if (offload.activations.length > 0) {
    need(flavour === "megatron", "activation offload by region", "按區域換出激活");
    keys["fine-grained-activation-offloading"] = true;
    keys["offload-modules"] = offload.activations.map((region) => {
      need(region !== "layerInput", "offload of layer inputs", "換出層輸入");
      return OFFLOAD.to(region as RecomputeRegion);
    });
  }
}

function writePrecision(p: Precision, optimizer: OptimizerKind, keys: Keys): void {
  need(
    p.experts === undefined || p.experts === p.weights,
    "experts in another format than the other weights",
    "專家與其他權重格式不同",
  );
  if (p.weights === "float32") {
    need(
      p.activations === "float32" && p.gradients === "float32" && p.master === "none",
      "fp32 weights with mixed precision",
      "fp32 權重搭配混合精度",
    );
    need(
      p.dispatch === "float32" && p.moments === "float32",
      "fp32 weights with smaller states",
      "fp32 權重搭配較小的狀態",
    );
    return;
  }
  need(p.weights !== "fp4", "fp4 weights", "fp4 權重");
  need(
    p.activations === "bfloat16" && p.dispatch === "bfloat16",
    "activations or dispatch that are not bf16",
    "非 bf16 的激活或分發",
  );
  need(p.master === "float32", `a ${p.master} master copy`, `${p.master} 主副本`);
  keys["bf16"] = true;
  if (p.weights === "fp8" || p.weights === "mxfp8") {
    keys["fp8-format"] = p.weights === "mxfp8" ? "e4m3" : "hybrid";
    keys["fp8-recipe"] = p.weights === "mxfp8" ? "mxfp8" : "blockwise";
    keys["fp8-param-gather"] = true;
  }
  if (p.gradients === "float32") keys["accumulate-allreduce-grads-in-fp32"] = true;
  else keys["grad-reduce-in-bf16"] = true;
  if (p.moments !== "float32") {
    need(optimizer !== "sgd", "small moments without moments", "沒有動量的優化器縮小動量");
    keys["use-precision-aware-optimizer"] = true;
    keys["exp-avg-dtype"] = MOMENT.to(p.moments);
    keys["exp-avg-sq-dtype"] = MOMENT.to(p.moments);
  }
}

/** Low-precision products beside bf16 weights. */
function writeProducts({ products, training }: Settings, keys: Keys, flavour: MegatronFlavour): void {
  if (!products) return;
  need(
    training.precision.weights === "bfloat16",
    `${products} products of ${training.precision.weights} weights`,
    `${training.precision.weights} 權重的 ${products} 矩陣乘`,
  );
  if (products === "fp8") {
    keys["fp8-format"] = "e4m3";
    keys["fp8-recipe"] = "blockwise";
  } else {
    need(flavour === "megatron", "fp4 products", "fp4 矩陣乘");
    keys["fp4-format"] = "e2m1";
    keys["fp4-recipe"] = "nvfp4";
  }
}

export function fromMegatron(given: Keys, context: ReadContext, flavour: MegatronFlavour): Settings {
  const keys = new KeyReader(given);
  const pp = keys.number("pipeline-model-parallel-size", 1);
  const tp = keys.number("tensor-model-parallel-size", 1);
  const cp = keys.number("context-parallel-size", 1);
  const dpReplicate = keys.number("num-distributed-optimizer-instances", 1);
  const pipeline = readPipeline(keys, pp, flavour);
  const fsdp = keys.flag("use-megatron-fsdp");
  const layout: Layout = {
    ...SINGLE,
    pp,
    tp,
    cp,
    dpReplicate,
    dpShard: context.world / (pp * tp * cp * dpReplicate),
    ep: keys.number("expert-model-parallel-size", 1),
    etp: keys.number("expert-tensor-parallel-size", 1),
    sequenceParallel: keys.flag("sequence-parallel"),
    contextParallel:
      cp === 1
        ? SINGLE.contextParallel
        : flavour === "mindspeed"
          ? MINDSPEED_CONTEXT.from(keys.text("context-parallel-algo", "megatron_cp_algo"))
          : CONTEXT.from(keys.text("cp-comm-type", "p2p")),
    zero: fsdp
      ? keys.text("data-parallel-sharding-strategy") === "optim_grads"
        ? 2
        : 3
      : keys.flag("use-distributed-optimizer")
        ? 1
        : 0,
    ...pipeline,
    recompute: readRecompute(keys),
    offload: {
      optimizer: keys.flag("swap-optimizer")
        ? 1
        : keys.flag("optimizer-cpu-offload")
          ? keys.number("optimizer-offload-fraction", 1)
          : 0,
      activations: keys.has("offload-modules")
        ? keys
            .list("offload-modules")
            .map((name) => OFFLOAD.from(String(name)))
            .sort()
        : [],
    },
  };
  need(
    worldOf(layout) === context.world,
    `${context.world} devices do not divide into these degrees`,
    `${context.world} 個加速器無法按這些並行度分配`,
  );
  return {
    layout,
    training: {
      sequence: keys.number("seq-length"),
      microBatch: keys.number("micro-batch-size"),
      globalBatch: keys.number("global-batch-size"),
      precision: readPrecision(keys),
      optimizer: OPTIMIZER.from(keys.text("optimizer", "adam")),
      mtp: keys.number("mtp-num-layers", 0) > 0,
    },
    ...(keys.text("moe-token-dispatcher-type", "alltoall") === "flex" ? { dispatcher: "flex" as const } : {}),
    ...(keys.has("fp4-format")
      ? { products: "fp4" as const }
      : keys.has("fp8-format") && !keys.flag("fp8-param-gather")
        ? { products: "fp8" as const }
        : {}),
  };
}

function readPipeline(
  keys: KeyReader,
  pp: number,
  flavour: MegatronFlavour,
): Pick<Layout, "vpp" | "schedule" | "stages"> {
  if (flavour === "mindspeed") {
    const dual = keys.text("schedules-method", "") === "dualpipev";
    const total = keys.number("num-layers");
    const vpp = dual
      ? 2
      : keys.has("num-layers-per-virtual-pipeline-stage")
        ? total / keys.number("num-layers-per-virtual-pipeline-stage") / pp
        : 1;
    const slots = total / (pp * vpp);
    need(Number.isInteger(slots), "layers that do not divide into stages", "層數無法整除階段數");
    const counts = Array.from({ length: pp * vpp }, () => slots);
    for (const slot of keys.text("noop-layers", "").split(",").filter(Boolean)) {
      const stage = Math.floor(Number(slot) / slots);
      counts[stage] = (counts[stage] ?? 0) - 1;
    }
    return {
      vpp,
      schedule: dual ? "dualpipev" : vpp > 1 ? "interleaved1f1b" : "1f1b",
      stages: stagesOf(counts),
    };
  }
  const text = keys.text("pipeline-model-parallel-layout", "t".repeat(keys.number("num-layers")));
  const counts = expand(text)
    .split("|")
    .map((stage) => stage.replaceAll(/[^t]/g, "").length);
  need(
    counts.length % pp === 0,
    `${counts.length} stages for pp ${pp}`,
    `pp ${pp} 卻有 ${counts.length} 個階段`,
  );
  const vpp = counts.length / pp;
  return { vpp, schedule: vpp > 1 ? "interleaved1f1b" : "1f1b", stages: stagesOf(counts) };
}

/** Layout strings may abbreviate: `t*4` and `(tt|)*14`. */
function expand(text: string): string {
  let out = text.replaceAll(/\s|,/g, "");
  for (;;) {
    const next = out
      .replaceAll(/\(([^()]*)\)\*(\d+)/g, (_, body: string, times: string) => body.repeat(Number(times)))
      .replaceAll(/([a-zA-Z])\*(\d+)/g, (_, body: string, times: string) => body.repeat(Number(times)));
    if (next === out) return out;
    out = next;
  }
}

function readRecompute(keys: KeyReader): Layout["recompute"] {
  const granularity = keys.text("recompute-granularity", "none");
  if (granularity === "full") {
    return keys.text("recompute-method", "uniform") === "block"
      ? { kind: "full", layers: keys.number("recompute-num-layers") }
      : { kind: "full" };
  }
  if (granularity === "selective") {
    const modules = keys.has("recompute-modules") ? keys.list("recompute-modules") : ["core_attn"];
    return { kind: "selective", regions: modules.map((name) => REGIONS.from(String(name))).sort() };
  }
  return { kind: "none" };
}

function readPrecision(keys: KeyReader): Precision {
  if (!keys.flag("bf16")) {
    return {
      weights: "float32",
      gradients: "float32",
      master: "none",
      moments: "float32",
      activations: "float32",
      dispatch: "float32",
    };
  }
  const fp8 = keys.flag("fp8-param-gather")
    ? keys.text("fp8-recipe", "delayed") === "mxfp8"
      ? "mxfp8"
      : "fp8"
    : "bfloat16";
  return {
    weights: fp8,
    gradients: keys.flag("grad-reduce-in-bf16") ? "bfloat16" : "float32",
    master: "float32",
    moments: MOMENT.from(keys.text("exp-avg-dtype", "fp32")),
    activations: "bfloat16",
    dispatch: "bfloat16",
  };
}
