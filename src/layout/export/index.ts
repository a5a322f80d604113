import { err, ok, type Result, type Text } from "../../base/index.ts";
import { layoutFail } from "../errors.ts";
import { paddedSequences } from "../layout.ts";
import { fromArguments, fromYaml, toArguments, toYaml } from "./formats.ts";
import { fromAutomodel, fromTorchtitan, fromVeomni, toAutomodel, toTorchtitan, toVeomni } from "./fsdp.ts";
import { fromMegatron, toMegatron } from "./megatron.ts";
import { Cannot, canonical, type Keys, need, type ReadContext, type Settings } from "./settings.ts";

export { canonical, type ReadContext, type Settings } from "./settings.ts";

export const TARGETS = [
  "megatron",
  "mindspeed",
  "bridge",
  "torchtitan",
  "automodel",
  "veomni",
  "tessera",
] as const;
export type Target = (typeof TARGETS)[number];

type Read = (text: string, context: ReadContext) => Settings;
type Form = {
  readonly title: string;
  /** Throws what it cannot express; many times cheaper than writing. */
  readonly check: (settings: Settings) => void;
  readonly write: (settings: Settings) => string;
  readonly read: Read;
};

/** No stack fills a batch that does not divide. */
function divided(settings: Settings): Settings {
  const empty = paddedSequences(settings.layout, settings.training);
  const { globalBatch } = settings.training;
  need(
    empty < 1,
    `${empty} empty sequences beside a batch of ${globalBatch}; a batch of ${globalBatch + empty} it can`,
    `批次 ${globalBatch} 之外的 ${empty} 個空序列；批次 ${globalBatch + empty} 則可`,
  );
  return settings;
}

/** A stack's settings are keys first, then text. */
const form = <K>(title: string, to: (s: Settings) => K, text: (keys: K) => string, read: Read): Form => ({
  title,
  check: (settings) => void to(divided(settings)),
  write: (settings) => text(to(divided(settings))),
  read,
});

const flags = (flavour: "megatron" | "mindspeed"): Form =>
  form(
    flavour === "megatron" ? "Megatron-LM" : "MindSpeed-LLM",
    (s) => toMegatron(s, flavour),
    toArguments,
    (text, context) => fromMegatron(fromArguments(text), context, flavour),
  );

/** Parts of Megatron-Bridge's container; every other name belongs to `model`. */
const BRIDGE: Readonly<Record<string, string>> = {
  "micro-batch-size": "train",
  "global-batch-size": "train",
  "use-distributed-optimizer": "ddp",
  "use-megatron-fsdp": "ddp",
  "data-parallel-sharding-strategy": "ddp",
  "num-distributed-optimizer-instances": "ddp",
  "accumulate-allreduce-grads-in-fp32": "ddp",
  "grad-reduce-in-bf16": "ddp",
  optimizer: "optimizer",
  "optimizer-cpu-offload": "optimizer",
  "optimizer-offload-fraction": "optimizer",
  "use-precision-aware-optimizer": "optimizer",
  "exp-avg-dtype": "optimizer",
  "exp-avg-sq-dtype": "optimizer",
  bf16: "mixed_precision",
  "fp8-format": "mixed_precision",
  "fp8-recipe": "mixed_precision",
  "fp8-param-gather": "mixed_precision",
  "fp4-format": "mixed_precision",
  "fp4-recipe": "mixed_precision",
};
/** Fields that go by another name there. */
const RENAMED: Readonly<Record<string, string>> = {
  "accumulate-allreduce-grads-in-fp32": "grad-reduce-in-fp32",
  "fp8-format": "fp8",
  "fp4-format": "fp4",
};
const ORIGINAL = new Map(Object.entries(RENAMED).map(([name, theirs]) => [theirs, name]));

const bridge = form(
  "Megatron-Bridge",
  (s) => toMegatron(s, "megatron"),
  (given) => {
    const keys: Keys = {};
    for (const [name, value] of Object.entries(given)) {
      // The container derives it from the sequence length.
      if (name === "max-position-embeddings") continue;
      if (name === "grad-reduce-in-bf16") keys["ddp.grad_reduce_in_fp32"] = false;
      else keys[`${BRIDGE[name] ?? "model"}.${(RENAMED[name] ?? name).replaceAll("-", "_")}`] = value;
    }
    return toYaml(keys);
  },
  (text, context) => {
    const keys: Keys = {};
    for (const [path, value] of Object.entries(fromYaml(text))) {
      const name = path.slice(path.indexOf(".") + 1).replaceAll("_", "-");
      if (name === "grad-reduce-in-fp32" && value === false) keys["grad-reduce-in-bf16"] = true;
      else keys[ORIGINAL.get(name) ?? name] = value;
    }
    return fromMegatron(keys, context, "megatron");
  },
);

/** Layout and batch as the worker spec of our own engine names them. */
const tessera = form(
  "Tessera",
  ({ layout, training, products, dispatcher }) => {
    need(products === undefined, `${products} products`, `${products} 矩陣乘`);
    need(
      dispatcher === undefined,
      "a dispatcher that sends a token once to a rank",
      "對同一進程只送一次的分發",
    );
    need(
      layout.tp === 1 && layout.cp === 1 && layout.etp === 1,
      "tensor, context or expert tensor parallelism",
      "張量、上下文或專家張量並行",
    );
    need(layout.zero === 3, "anything but sharded weights", "不切分權重");
    need(
      layout.schedule === "1f1b" || layout.schedule === "interleaved1f1b",
      `the ${layout.schedule} schedule`,
      `${layout.schedule} 排程`,
    );
    need(layout.recompute.kind !== "selective", "recomputation by region", "按區域重算");
    need(
      layout.recompute.kind !== "full" || layout.recompute.layers === undefined,
      "recomputation of some layers",
      "只重算部分層",
    );
    need(layout.stageRecompute === undefined, "recomputation that differs by stage", "各階段不同的重算");
    need(layout.offload.optimizer === 0 && layout.offload.activations.length === 0, "offload", "換出");
    // The engine keeps weights gathered between the passes of a pipeline, and only there.
    const resharded = layout.pp === 1;
    need(
      layout.reshardAfterForward === resharded,
      resharded ? "weights that stay gathered" : "a pipeline that gives its weights back after each pass",
      resharded ? "保持聚合的權重" : "每次傳遞後釋放權重的流水線",
    );
    const { pp, vpp, tp, cp, dpReplicate, dpShard, ep, schedule, stages, recompute, slotsPerRank } = layout;
    const { sequence, microBatch, globalBatch, precision, optimizer, mtp } = training;
    return {
      layout: {
        pp,
        vpp,
        tp,
        cp,
        dpReplicate,
        dpShard,
        ep,
        schedule,
        stages,
        recompute: recompute.kind,
        slotsPerRank: slotsPerRank ?? null,
      },
      precision,
      batch: { sequenceLength: sequence, microBatch, globalBatch },
      optimizer: { kind: optimizer },
      mtp,
    };
  },
  (document) => `${JSON.stringify(document, null, 2)}\n`,
  (text) => {
    const data = parseJson(text) as {
      layout: Settings["layout"] & { recompute: string; slotsPerRank: number | null };
      precision: Settings["training"]["precision"];
      batch: { sequenceLength: number; microBatch: number; globalBatch: number };
      optimizer: { kind: Settings["training"]["optimizer"] };
      mtp: boolean;
    };
    need(
      [data?.layout, data?.batch, data?.precision, data?.optimizer].every(
        (part) => typeof part === "object" && part,
      ),
      "layout, precision, batch or optimizer is not in the document",
      "文件缺少 layout、precision、batch 或 optimizer",
    );
    const { slotsPerRank, recompute, ...layout } = data.layout;

    return {
      layout: {
        ...layout,
        etp: 1,
        sequenceParallel: false,
        contextParallel: "allGather",
        zero: 3,
        reshardAfterForward: layout.pp === 1,
        offload: { optimizer: 0, activations: [] },
        recompute: { kind: recompute === "full" ? "full" : "none" },
        ...(slotsPerRank === null ? {} : { slotsPerRank }),
      },
      training: {
        sequence: data.batch.sequenceLength,
        microBatch: data.batch.microBatch,
        globalBatch: data.batch.globalBatch,
        precision: data.precision,
        optimizer: data.optimizer.kind,
        mtp: data.mtp,
      },
    };
  },
);

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const why = (cause as Error).message;
    throw new Cannot(why, why);
  }
}

const FORMS: Readonly<Record<Target, Form>> = {
  megatron: flags("megatron"),
  mindspeed: flags("mindspeed"),
  bridge,
  torchtitan: form("torchtitan", toTorchtitan, toArguments, (text, context) =>
    fromTorchtitan(fromArguments(text), context),
  ),
  automodel: form("NeMo AutoModel", toAutomodel, toYaml, (text, context) =>
    fromAutomodel(fromYaml(text), context),
  ),
  veomni: form("VeOmni", toVeomni, toYaml, (text, context) => fromVeomni(fromYaml(text), context)),
  tessera,
};

/**
 * Settings of another stack for a plan, refused with the name of what the stack cannot express.
 *
 * @example exportPlan(plan, "megatron") // "--tensor-model-parallel-size 2 \\\n--pipeline-model-parallel-size 8 ..."
 */
export function exportPlan(settings: Settings, target: Target): Result<string> {
  const form = FORMS[target];
  try {
    return ok(form.write(canonical(settings)));
  } catch (cause) {
    if (cause instanceof Cannot)
      return err(layoutFail("EXPORT_UNSUPPORTED", { target: form.title, what: cause.text }));
    throw cause;
  }
}

/** What a stack cannot express in a plan, without writing it. */
export function exportProblem(settings: Settings, target: Target): Text | undefined {
  const { title, check } = FORMS[target];
  try {
    check(canonical(settings));
    return undefined;
  } catch (cause) {
    if (cause instanceof Cannot) {
      const { en, zh } = cause.text;
      return { en: `${title} cannot express ${en}`, zh: `${title} 無法表達 ${zh}` };
    }
    throw cause;
  }
}

/** Reads settings back; `world` and `layers` come from the launch and the model, which most stacks keep elsewhere. */
export function importPlan(text: string, target: Target, context: ReadContext): Result<Settings> {
  const form = FORMS[target];
  try {
    return ok(canonical(form.read(text, context)));
  } catch (cause) {
    if (cause instanceof Cannot)
      return err(layoutFail("EXPORT_READ", { target: form.title, detail: cause.text }));
    throw cause;
  }
}
