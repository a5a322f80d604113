import { type Layout, type OptimizerKind, type Precision, type Schedule, SINGLE } from "../layout.ts";
import {
  type Keys,
  KeyReader,
  localBatch,
  need,
  pairs,
  type ReadContext,
  type Settings,
} from "./settings.ts";

/** Stacks built on FSDP2: torchtitan, NeMo AutoModel, VeOmni. They shard weights, and hold fp32 or bf16 without a second copy. */

const SCHEDULE = pairs<Schedule>(
  {
    gpipe: "GPipe",
    "1f1b": "1F1B",
    interleaved1f1b: "Interleaved1F1B",
    zbv: "ZBVZeroBubble",
    dualpipev: "DualPipeV",
  },
  { en: "the schedule", zh: "排程" },
);
const DTYPE = pairs<"float32" | "bfloat16">(
  { float32: "float32", bfloat16: "bfloat16" },
  { en: "the format", zh: "格式" },
);

/** Module names of every stage, as pipeline splitters take them. */
function stageModules(settings: Settings): string[][] {
  const last = settings.layout.stages.length - 1;
  return settings.layout.stages.map((layers, stage) => [
    ...(stage === 0 ? ["tok_embeddings"] : []),
    ...layers.map((layer) => `layers.${layer}`),
    ...(stage === last ? ["norm", "output"] : []),
  ]);
}
const stagesFrom = (parts: readonly (readonly string[])[]): number[][] =>
  parts.map((part) => part.flatMap((name) => (name.startsWith("layers.") ? [Number(name.slice(7))] : [])));

function common(
  { layout, training, products, dispatcher }: Settings,
  optimizers: readonly OptimizerKind[] = ["adamw"],
  dispatchers = false,
): void {
  need(layout.zero === 3, `ZeRO-${layout.zero}: it shards weights`, `ZeRO-${layout.zero}：它切分權重`);
  need(layout.stageRecompute === undefined, "recomputation that differs by stage", "各階段不同的重算");
  need(layout.recompute.kind !== "selective", "recomputation by region", "按區域重算");
  need(
    layout.recompute.kind !== "full" || layout.recompute.layers === undefined,
    "recomputation of some layers of a stage",
    "只重算階段內部分層",
  );
  need(layout.offload.activations.length === 0, "activation offload by region", "按區域換出激活");
  need(
    layout.offload.optimizer === 0 || layout.offload.optimizer === 1,
    "a part of the optimizer on the host",
    "只有部分優化器在主機",
  );
  need(layout.slotsPerRank === undefined, "spare expert slots", "備用的專家槽位");
  const p = training.precision;
  need(
    p.master === "none",
    `${p.weights} weights beside a ${p.master} master copy`,
    `${p.weights} 權重搭配 ${p.master} 主副本`,
  );
  need(p.weights === "float32" || p.weights === "bfloat16", `${p.weights} weights`, `${p.weights} 權重`);
  need(
    p.experts === undefined || p.experts === p.weights,
    "experts in another format than the other weights",
    "專家與其他權重格式不同",
  );
  need(
    p.moments === p.weights,
    `${p.moments} moments beside ${p.weights} weights`,
    `${p.weights} 權重搭配 ${p.moments} 動量`,
  );
  need(p.dispatch === p.activations, "a dispatch format of its own", "單獨的分發格式");
  need(
    optimizers.includes(training.optimizer),
    `the ${training.optimizer} optimizer`,
    `${training.optimizer} 優化器`,
  );
  need(products === undefined, `${products} products`, `${products} 矩陣乘`);
  need(
    dispatcher === undefined || dispatchers,
    "a dispatcher that sends a token once to a rank",
    "對同一進程只送一次的分發",
  );
}

function precision(weights: "float32" | "bfloat16", compute: string, reduce: string): Precision {
  const activations = DTYPE.from(compute);
  return {
    weights,
    gradients: DTYPE.from(reduce),
    master: "none",
    moments: weights,
    activations,
    dispatch: activations,
  };
}

export function toTorchtitan(settings: Settings): Keys {
  const { layout, training } = settings;
  common(settings);
  need(!training.mtp, "multi-token prediction", "多詞元預測");
  need(
    layout.tp === 1 || layout.sequenceParallel,
    "tensor without sequence parallelism",
    "沒有序列並行的張量並行",
  );
  need(
    layout.cp === 1 || layout.contextParallel !== "ulysses",
    "Ulysses context parallelism",
    "Ulysses 上下文並行",
  );
  need(layout.etp === 1, "expert tensor parallelism", "專家張量並行");
  need(training.precision.gradients === "float32", "gradients reduced in bf16", "以 bf16 規約梯度");
  return {
    "parallelism.data_parallel_replicate_degree": layout.dpReplicate,
    "parallelism.data_parallel_shard_degree": layout.dpShard,
    "parallelism.tensor_parallel_degree": layout.tp,
    "parallelism.context_parallel_degree": layout.cp,
    ...(layout.cp > 1
      ? {
          "parallelism.context_parallel_rotate_method":
            layout.contextParallel === "ring" ? "alltoall" : "allgather",
        }
      : {}),
    "parallelism.expert_parallel_degree": layout.ep,
    "parallelism.fsdp_reshard_after_forward": layout.reshardAfterForward ? "always" : "never",
    "parallelism.pipeline_parallel_degree": layout.pp,
    ...(layout.pp > 1
      ? {
          "parallelism.pipeline_parallel_schedule": SCHEDULE.to(layout.schedule),
          "parallelism.pipeline_parallel_microbatch_size": training.microBatch,
          "parallelism.module_fqns_per_model_part": stageModules(settings),
        }
      : {}),
    "training.seq_len": training.sequence,
    "training.local_batch_size": layout.pp > 1 ? localBatch(settings) : training.microBatch,
    "training.global_batch_size": training.globalBatch,
    "training.dtype": DTYPE.to(training.precision.weights as "float32" | "bfloat16"),
    "training.mixed_precision_param": DTYPE.to(training.precision.activations),
    "training.mixed_precision_reduce": DTYPE.to(training.precision.gradients),
    "training.enable_cpu_offload": layout.offload.optimizer === 1,
    "activation_checkpoint.mode": layout.recompute.kind === "full" ? "full" : "none",
    "optimizer.name": "AdamW",
  };
}

export function fromTorchtitan(given: Keys, context: ReadContext): Settings {
  const keys = new KeyReader(given);
  const p = (name: string) => `parallelism.${name}`;
  const pp = keys.number(p("pipeline_parallel_degree"), 1);
  const tp = keys.number(p("tensor_parallel_degree"), 1);
  const cp = keys.number(p("context_parallel_degree"), 1);
  const dpReplicate = keys.number(p("data_parallel_replicate_degree"), 1);
  const shard = keys.number(p("data_parallel_shard_degree"), -1);
  const parts =
    pp > 1
      ? stagesFrom(keys.list(p("module_fqns_per_model_part")) as readonly (readonly string[])[])
      : [all(context)];
  return {
    layout: {
      ...SINGLE,
      pp,
      vpp: parts.length / pp,
      tp,
      cp,
      dpReplicate,
      dpShard: shard > 0 ? shard : context.world / (pp * tp * cp * dpReplicate),
      ep: keys.number(p("expert_parallel_degree"), 1),
      sequenceParallel: tp > 1,
      contextParallel:
        cp > 1 && keys.text(p("context_parallel_rotate_method"), "allgather") === "alltoall"
          ? "ring"
          : "allGather",
      zero: 3,
      reshardAfterForward: keys.text(p("fsdp_reshard_after_forward"), "always") === "always",
      schedule: pp > 1 ? SCHEDULE.from(keys.text(p("pipeline_parallel_schedule"))) : "1f1b",
      stages: parts,
      recompute:
        keys.text("activation_checkpoint.mode", "none") === "full" ? { kind: "full" } : { kind: "none" },
      offload: { optimizer: keys.flag("training.enable_cpu_offload") ? 1 : 0, activations: [] },
    },
    training: {
      sequence: keys.number("training.seq_len"),
      microBatch:
        pp > 1
          ? keys.number(p("pipeline_parallel_microbatch_size"))
          : keys.number("training.local_batch_size"),
      globalBatch: keys.number("training.global_batch_size"),
      precision: precision(
        DTYPE.from(keys.text("training.dtype", "float32")),
        keys.text("training.mixed_precision_param", "bfloat16"),
        keys.text("training.mixed_precision_reduce", "float32"),
      ),
      optimizer: "adamw",
      mtp: false,
    },
  };
}

const all = (context: ReadContext): number[] => Array.from({ length: context.layers }, (_, i) => i);

/** AutoModel's dispatchers that send a token once to a rank; "torch" does not. */
const ONCE = new Set(["deepep", "hybridep", "uccl_ep"]);

export function toAutomodel(settings: Settings): Keys {
  const { layout, training } = settings;
  common(settings, ["adamw"], true);
  need(layout.etp === 1, "expert tensor parallelism", "專家張量並行");
  need(
    layout.ep === 1 || !layout.sequenceParallel,
    "sequence parallelism with expert parallelism",
    "序列並行與專家並行同用",
  );
  need(
    layout.cp === 1 || layout.contextParallel === "ring",
    `${layout.contextParallel} context parallelism`,
    `${layout.contextParallel} 上下文並行`,
  );
  need(!training.mtp, "multi-token prediction", "多詞元預測");
  return {
    "distributed.strategy": "fsdp2",
    "distributed.dp_size": layout.dpShard * layout.dpReplicate,
    "distributed.dp_replicate_size": layout.dpReplicate,
    "distributed.tp_size": layout.tp,
    "distributed.cp_size": layout.cp,
    "distributed.pp_size": layout.pp,
    "distributed.ep_size": layout.ep,
    "distributed.sequence_parallel": layout.sequenceParallel,
    "distributed.activation_checkpointing": layout.recompute.kind === "full",
    "distributed.reshard_after_forward": layout.reshardAfterForward,
    ...(layout.offload.optimizer === 1
      ? { "distributed.offload_policy._target_": "torch.distributed.fsdp.CPUOffloadPolicy" }
      : {}),
    "distributed.mp_policy._target_": "torch.distributed.fsdp.MixedPrecisionPolicy",
    "distributed.mp_policy.param_dtype": DTYPE.to(training.precision.activations),
    "distributed.mp_policy.reduce_dtype": DTYPE.to(training.precision.gradients),
    ...(layout.pp > 1
      ? {
          "distributed.pipeline.pp_schedule": SCHEDULE.to(layout.schedule),
          "distributed.pipeline.pp_microbatch_size": training.microBatch,
          "distributed.pipeline.module_fqns_per_model_part": stageModules(settings),
        }
      : {}),
    "model.torch_dtype": DTYPE.to(training.precision.weights as "float32" | "bfloat16"),
    ...(settings.dispatcher ? { "model.backend.dispatcher": "deepep" } : {}),
    "step_scheduler.local_batch_size": layout.pp > 1 ? localBatch(settings) : training.microBatch,
    "step_scheduler.global_batch_size": training.globalBatch,
    "dataset.seq_len": training.sequence,
  };
}

export function fromAutomodel(given: Keys, context: ReadContext): Settings {
  const keys = new KeyReader(given);
  const d = (name: string) => `distributed.${name}`;
  const pp = keys.number(d("pp_size"), 1);
  const replicate = keys.number(d("dp_replicate_size"), 1);
  const parts =
    pp > 1
      ? stagesFrom(keys.list(d("pipeline.module_fqns_per_model_part")) as readonly (readonly string[])[])
      : [all(context)];
  const cp = keys.number(d("cp_size"), 1);
  return {
    layout: {
      ...SINGLE,
      pp,
      vpp: parts.length / pp,
      tp: keys.number(d("tp_size"), 1),
      cp,
      dpReplicate: replicate,
      dpShard: keys.number(d("dp_size")) / replicate,
      ep: keys.number(d("ep_size"), 1),
      sequenceParallel: keys.flag(d("sequence_parallel")),
      contextParallel: cp > 1 ? "ring" : SINGLE.contextParallel,
      zero: 3,
      reshardAfterForward: keys.flag(d("reshard_after_forward")),
      schedule: pp > 1 ? SCHEDULE.from(keys.text(d("pipeline.pp_schedule"))) : "1f1b",
      stages: parts,
      recompute: keys.flag(d("activation_checkpointing")) ? { kind: "full" } : { kind: "none" },
      offload: { optimizer: keys.has(d("offload_policy._target_")) ? 1 : 0, activations: [] },
    },
    training: {
      sequence: keys.number("dataset.seq_len"),
      microBatch:
        pp > 1
          ? keys.number(d("pipeline.pp_microbatch_size"))
          : keys.number("step_scheduler.local_batch_size"),
      globalBatch: keys.number("step_scheduler.global_batch_size"),
      precision: precision(
        DTYPE.from(keys.text("model.torch_dtype")),
        keys.text(d("mp_policy.param_dtype")),
        keys.text(d("mp_policy.reduce_dtype")),
      ),
      optimizer: "adamw",
      mtp: false,
    },
    ...(ONCE.has(keys.text("model.backend.dispatcher", "torch")) ? { dispatcher: "flex" as const } : {}),
  };
}

const OPTIMIZER = pairs<OptimizerKind>(
  { adamw: "adamw", muon: "muon" },
  { en: "the optimizer", zh: "優化器" },
);

/** Names of VeOmni's `model.accelerator` tree (2026); with mixed precision it holds fp32 weights, without it bf16 ones. */
export function toVeomni(settings: Settings): Keys {
  const { layout, training } = settings;
  const { precision: p } = training;
  common(settings, ["adamw", "muon"]);
  need(layout.pp === 1, "pipeline parallelism", "流水線並行");
  need(layout.tp === 1, "tensor parallelism", "張量並行");
  need(layout.etp === 1, "expert tensor parallelism", "專家張量並行");
  need(
    layout.cp === 1 || layout.contextParallel === "ulysses",
    `${layout.contextParallel} context parallelism`,
    `${layout.contextParallel} 上下文並行`,
  );
  need(!training.mtp, "multi-token prediction", "多詞元預測");
  const mixed = p.weights === "float32";
  need(
    mixed || (p.activations === "bfloat16" && p.gradients === "bfloat16"),
    "bf16 weights with fp32 activations or gradients",
    "bf16 權重搭配 fp32 激活或梯度",
  );
  const a = (name: string) => `model.accelerator.${name}`;
  return {
    [a("dp_shard_size")]: layout.dpShard,
    [a("dp_replicate_size")]: layout.dpReplicate,
    [a("ulysses_size")]: layout.cp,
    [a("ep_size")]: layout.ep,
    [a("fsdp_config.fsdp_mode")]: "fsdp2",
    [a("fsdp_config.reshard_after_forward")]: layout.reshardAfterForward,
    [a("fsdp_config.offload")]: layout.offload.optimizer === 1,
    [a("fsdp_config.mixed_precision.enable")]: mixed,
    ...(mixed
      ? {
          [a("fsdp_config.mixed_precision.param_dtype")]: DTYPE.to(p.activations),
          [a("fsdp_config.mixed_precision.reduce_dtype")]: DTYPE.to(p.gradients),
        }
      : {}),
    [a("gradient_checkpointing.enable")]: layout.recompute.kind === "full",
    "model.optimizer.type": OPTIMIZER.to(training.optimizer),
    "train.micro_batch_size": training.microBatch,
    "train.global_batch_size": training.globalBatch,
    "data.max_seq_len": training.sequence,
  };
}

export function fromVeomni(given: Keys, context: ReadContext): Settings {
  const keys = new KeyReader(given);
  const a = (name: string) => `model.accelerator.${name}`;
  const cp = keys.number(a("ulysses_size"), 1);
  const mixed = keys.flag(a("fsdp_config.mixed_precision.enable"));
  const layout: Layout = {
    ...SINGLE,
    cp,
    dpShard: keys.number(a("dp_shard_size")),
    dpReplicate: keys.number(a("dp_replicate_size"), 1),
    ep: keys.number(a("ep_size"), 1),
    sequenceParallel: false,
    contextParallel: cp > 1 ? "ulysses" : SINGLE.contextParallel,
    zero: 3,
    reshardAfterForward: keys.flag(a("fsdp_config.reshard_after_forward")),
    stages: [all(context)],
    recompute: keys.flag(a("gradient_checkpointing.enable")) ? { kind: "full" } : { kind: "none" },
    offload: { optimizer: keys.flag(a("fsdp_config.offload")) ? 1 : 0, activations: [] },
  };
  return {
    layout,
    training: {
      sequence: keys.number("data.max_seq_len"),
      microBatch: keys.number("train.micro_batch_size"),
      globalBatch: keys.number("train.global_batch_size"),
      precision: mixed
        ? precision(
            "float32",
            keys.text(a("fsdp_config.mixed_precision.param_dtype")),
            keys.text(a("fsdp_config.mixed_precision.reduce_dtype")),
          )
        : precision("bfloat16", "bfloat16", "bfloat16"),
      optimizer: OPTIMIZER.from(keys.text("model.optimizer.type", "adamw")),
      mtp: false,
    },
  };
}
