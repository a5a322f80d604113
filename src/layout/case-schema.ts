/**
 * What a case of `tessera estimate` may say: the reader checks by it, `tessera estimate --schema` prints it, and messages are made from it.
 * Rules that look at more than one key stand in `case.ts`.
 */
import { z } from "zod";
import type { Lang } from "../base/index.ts";
import { type JsonSchema, jsonSchemaOf, key } from "../base/schema.ts";
import { TARGETS } from "./export/index.ts";
import {
  BF16_MIXED,
  type Layout,
  type Precision,
  RECOMPUTE_REGIONS,
  SCHEDULES,
  SINGLE,
  type Training,
} from "./layout.ts";
import { PRECISIONS, type PrecisionName } from "./precision.ts";
import { type Stack, STACKS } from "./stacks.ts";
import type { Traits } from "./time/index.ts";

const count = () => z.int().min(1);
const share = (low: number, high: number) => z.number().min(low).max(high);
const object = () => z.record(z.string(), z.unknown());
const degree = (en: string, zh: string) => key(count().default(1), en, zh);

const regions = z.array(z.enum(RECOMPUTE_REGIONS));
const recompute = z.union([
  z.enum(["none", "full"]),
  regions,
  z.strictObject({ kind: z.literal("none") }),
  z.strictObject({ kind: z.literal("full"), layers: count().optional() }),
  z.strictObject({ kind: z.literal("selective"), regions }),
]);

const layout = z.strictObject({
  pp: degree("pipeline ranks", "流水線並行度"),
  vpp: degree("virtual stages of a pipeline rank", "每個流水線進程的虛擬階段數"),
  tp: degree("tensor-parallel ranks", "張量並行度"),
  cp: degree("context-parallel ranks", "上下文並行度"),
  ep: degree("expert-parallel ranks", "專家並行度"),
  etp: degree("tensor-parallel ranks of an expert", "專家的張量並行度"),
  dpReplicate: degree("copies of the whole state", "整份狀態的副本數"),
  dpShard: key(
    count().optional(),
    "data ranks that share states; the devices that remain when absent",
    "分攤狀態的數據進程數；省略時取剩餘加速器",
  ),
  zero: key(
    z.literal([0, 1, 2, 3]).optional(),
    "what dpShard cuts: 0 nothing, 1 states, 2 also gradients, 3 also weights; when absent 1, FSDP2 stacks 3",
    "dpShard 切分什麼：0 不切、1 狀態、2 加梯度、3 加權重；省略時為 1，FSDP2 類框架為 3",
  ),
  reshardAfterForward: key(
    z.boolean().optional(),
    "ZeRO-3: give full weights back after each forward; when absent true, but for FSDP2 stacks with a pipeline",
    "ZeRO-3：每次前向後釋放完整權重；省略時為 true，但 FSDP2 框架有流水線時為 false",
  ),
  sequenceParallel: key(
    z.boolean().optional(),
    "norms and residuals are cut along the sequence; true with tp when absent",
    "歸一化與殘差沿序列切分；省略時有 tp 即為 true",
  ),
  contextParallel: key(
    z.enum(["ring", "allGather", "ulysses"]).default(SINGLE.contextParallel),
    "how context-parallel ranks see each other's keys",
    "上下文並行進程如何取得彼此的鍵",
  ),
  schedule: key(
    z.enum(SCHEDULES).optional(),
    "pipeline schedule; 1f1b when absent, interleaved1f1b with vpp",
    "流水線排程；省略時為 1f1b，有 vpp 時為 interleaved1f1b",
  ),
  stages: key(
    z.union([z.array(z.int().min(0)), z.array(z.array(z.int().min(0)))]).optional(),
    "layers of each of the pp x vpp stages, as counts or lists; balanced by time when absent",
    "pp x vpp 個階段各有哪些層，可寫層數或清單；省略時按時間均衡",
  ),
  recompute: key(
    recompute.default("none"),
    "what is computed again in the backward pass",
    "反向時重新計算的部分",
  ),
  stageRecompute: key(
    z.array(recompute).optional(),
    "`recompute` of each stage, instead of one for all",
    "各階段的 `recompute`，取代統一設定",
  ),
  slotsPerRank: key(
    count().optional(),
    "places for experts on a rank, replicas included; experts / ep when absent",
    "每個進程的專家槽位數（含副本）；省略時為 專家數 / ep",
  ),
  offload: key(
    z
      .strictObject({
        optimizer: key(
          z.union([z.boolean(), share(0, 1)]).default(0),
          "share of the optimizer state that waits on the host; true for all of it",
          "放在主機上的優化器狀態比例；true 表示全部",
        ),
        activations: key(
          z.array(z.enum([...RECOMPUTE_REGIONS, "layerInput"])).default([]),
          "regions whose saved tensors wait on the host",
          "已保存張量放在主機上的區域",
        ),
      })
      .optional(),
    "what waits on the host between its uses",
    "兩次使用之間放在主機上的部分",
  ),
} satisfies Record<keyof Layout, z.ZodType>);

const weightFormat = z.enum(["float32", "bfloat16", "fp8", "mxfp8", "fp4"]);
const float = z.enum(["float32", "bfloat16"]);
const precision = z.strictObject({
  weights: key(weightFormat.default(BF16_MIXED.weights), "format of the weights", "權重格式"),
  experts: key(
    weightFormat.optional(),
    "format of routed experts where it differs",
    "路由專家的格式（不同時）",
  ),
  gradients: key(float.default(BF16_MIXED.gradients), "format of the gradients", "梯度格式"),
  master: key(
    z.enum(["float32", "remainder", "none"]).default(BF16_MIXED.master),
    "the copy that the optimizer updates; `remainder` keeps the lower 16 bits",
    "優化器更新的副本；`remainder` 只存低 16 位",
  ),
  moments: key(
    z.enum(["float32", "bfloat16", "fp8"]).default(BF16_MIXED.moments),
    "format of the optimizer's moments",
    "優化器動量格式",
  ),
  activations: key(float.default(BF16_MIXED.activations), "format of activations", "激活格式"),
  dispatch: key(
    z.enum(["bfloat16", "float32", "fp8"]).default(BF16_MIXED.dispatch),
    "format of tokens sent to experts",
    "送往專家的詞元格式",
  ),
} satisfies Record<keyof Precision, z.ZodType>);

const training = z.strictObject({
  sequence: key(count(), "tokens of a sequence", "每個序列的詞元數"),
  microBatch: key(count().default(1), "sequences a rank takes at once", "進程一次處理的序列數"),
  globalBatch: key(
    count().optional(),
    "sequences of a step over all ranks; this or `microBatches`",
    "一步的全部序列數；與 `microBatches` 擇一",
  ),
  microBatches: key(
    count().optional(),
    "micro-batches of a rank in a step; this or `globalBatch`",
    "一步中每個進程的微批次數；與 `globalBatch` 擇一",
  ),
  precision: key(
    z.union([z.enum(Object.keys(PRECISIONS) as PrecisionName[]), precision]).default("bf16"),
    "number formats, by name or one by one",
    "數值格式，用名稱或逐項寫",
  ),
  optimizer: key(z.enum(["adamw", "muon", "sgd"]).default("adamw"), "the optimizer", "優化器"),
  mtp: key(
    z.boolean().optional(),
    "train the MTP modules; true when absent and the model has them",
    "訓練 MTP 模組；省略且模型有 MTP 時為 true",
  ),
  capacityFactor: key(
    share(1, 1000).optional(),
    "experts take at most this multiple of their even share",
    "專家最多接收平均份額的這一倍數",
  ),
  padBatch: key(
    share(0, 1).optional(),
    "share of the batch that empty sequences may add where it does not divide",
    "批次不整除時可加入空序列的比例",
  ),
} satisfies Record<keyof Training | "microBatches", z.ZodType>);

const flag = () => z.boolean().optional();
const format = () => z.enum(["fp32", "bf16", "fp8", "fp4"]).optional();
export const traitsSchema = z.strictObject({
  compute: key(format(), "format of dense products", "稠密乘法的格式"),
  expertCompute: key(format(), "format of the experts' products", "專家乘法的格式"),
  overlapData: key(flag(), "gradient and weight exchange is hidden", "梯度與權重通訊被隱藏"),
  reduceOnce: key(flag(), "ZeRO-3 reduces gradients once a step", "ZeRO-3 每步只規約一次梯度"),
  overlapTensor: key(
    share(0, 1).optional(),
    "share of tensor-parallel exchange that is hidden",
    "張量並行通訊被隱藏的比例",
  ),
  overlapExpert: key(
    share(0, 1).optional(),
    "share of expert exchange that is hidden",
    "專家通訊被隱藏的比例",
  ),
  overlapPipeline: key(
    flag(),
    "pipeline messages travel while the next pass runs",
    "下一趟計算時傳送流水線訊息",
  ),
  overlapSlowdown: key(
    share(0, 1e6).optional(),
    "slowdown of compute that hides something",
    "被用來隱藏通訊的計算變慢的比例",
  ),
  imbalance: key(
    share(1, 1e4).optional(),
    "tokens of the most loaded expert rank over the mean",
    "最忙專家進程的詞元數與平均之比",
  ),
  deduplicate: key(flag(), "a token goes once to a rank and a node", "一個詞元對同一進程與節點只送一次"),
  consecutive: key(flag(), "tokens pick experts that stand side by side", "詞元選相鄰的專家"),
  fusedCasts: key(flag(), "experts cast their own 8-bit inputs", "專家自行轉換 8 位元輸入"),
  fusedBias: key(flag(), "experts' products add their biases", "專家乘法順帶加上偏置"),
  stash: key(
    flag(),
    "what experts keep for backward is copied to pages and back",
    "專家為反向保留的內容複製到頁再取回",
  ),
  hostLayerSeconds: key(share(0, 1e6).optional(), "host time to launch a layer", "主機啟動一層的時間"),
  stepSeconds: key(share(0, 1e6).optional(), "host work of a step that nothing hides", "一步中主機上的工作"),
} satisfies Record<Exclude<keyof Traits, "routing">, z.ZodType>);

/** One case. Unknown keys are errors everywhere but in the config, the cluster and what is kept for the reader's own use. */
export const caseSchema = z.strictObject({
  name: key(z.string().min(1).optional(), "name of the case in the answer", "結果中的案例名稱"),
  model: key(
    z.union([z.string().min(1), object()]),
    "config.json: the object, its path, the path of its folder, or the name of a well-known model",
    "config.json：物件、路徑、所在資料夾，或常見模型的名稱",
  ),
  override: key(object().default({}), "fields of the config to replace", "要取代的設定欄位"),
  cluster: key(
    z.union([z.string().min(1), object()]),
    "`preset:devices`, several joined by `+`, or a cluster object",
    "`預設:加速器數`，可用 `+` 連接多個，或叢集物件",
  ),
  engine: key(
    z.enum(Object.keys(STACKS) as Stack[]).default("megatron"),
    "the stack whose rules hold",
    "適用哪個框架的規則",
  ),
  settings: key(
    z
      .strictObject({
        target: key(z.enum(TARGETS), "the stack whose settings they are", "設定屬於哪個框架"),
        text: key(z.string().min(1).optional(), "the settings themselves", "設定的內容"),
        file: key(z.string().min(1).optional(), "or the file that holds them", "或存放設定的檔案"),
      })
      .optional(),
    "launch arguments or configuration of another stack, instead of `layout` and `training`",
    "其他框架的啟動參數或設定檔，取代 `layout` 與 `training`",
  ),
  layout: key(layout.prefault({}), "which piece of the model lies on which rank", "模型各部分放在哪個進程"),
  training: key(
    training.optional(),
    "what a step trains; needed without `settings`",
    "一步訓練的內容；沒有 `settings` 時必填",
  ),
  traits: key(
    traitsSchema.default({}),
    "how the stack runs; absent keys are the engine's",
    "框架的執行方式；省略的鍵取引擎的值",
  ),
  measured: key(z.unknown().optional(), "kept by you, not read", "供您自用，不讀取"),
  notes: key(z.unknown().optional(), "kept by you, not read", "供您自用，不讀取"),
});
export type CaseData = z.output<typeof caseSchema>;

/** JSON Schema of one case. */
export const caseJsonSchema = (lang: Lang): JsonSchema =>
  jsonSchemaOf(caseSchema, "Case of tessera estimate", lang);

/** JSON Schema of a whole file: one case, a list, or `{ "cases": [...] }`. */
export function casesJsonSchema(lang: Lang) {
  const { $schema, ...one } = caseJsonSchema(lang) as JsonSchema & { readonly $schema?: string };
  const item = { $ref: "#/$defs/case" };
  const list = { type: "array", minItems: 1, items: item };
  return {
    $schema,
    title: "Cases of tessera estimate",
    anyOf: [item, list, { type: "object", properties: { cases: list }, required: ["cases"] }],
    $defs: { case: one },
  };
}
