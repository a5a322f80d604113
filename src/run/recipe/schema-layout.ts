import { z } from "zod";
import { key } from "../../base/schema.ts";

const degree = () => z.int().min(1);

const explicit = z.strictObject({
  pp: key(degree().default(1), "pipeline ranks", "流水線進程數"),
  vpp: key(degree().default(1), "stages on each pipeline rank", "每個流水線進程的段數"),
  tp: key(degree().default(1), "tensor-parallel ranks; the engine has none: 1", "張量並行度；引擎沒有：1"),
  cp: key(degree().default(1), "context-parallel ranks; the engine has none: 1", "上下文並行度；引擎沒有：1"),
  dpReplicate: key(degree().default(1), "whole copies of the model", "模型完整副本數"),
  dpShard: key(degree().default(1), "ranks that shard one copy (FSDP)", "切分同一副本的進程數（FSDP）"),
  ep: key(
    degree().default(1),
    "ranks that share a layer's experts; divides dpShard",
    "分攤一層專家的進程數；須整除 dpShard",
  ),
  schedule: key(
    z.enum(["1f1b", "interleaved1f1b"]).default("1f1b"),
    "order of micro-batches in the pipeline",
    "流水線中微批次的順序",
  ),
  stages: key(
    z.array(z.array(z.int().min(0)).min(1)).optional(),
    "layers of each virtual stage; even split when absent",
    "每個虛擬段的層；省略則平均分配",
  ),
  recompute: key(
    z.enum(["none", "full"]).default("none"),
    "`full` recomputes activations in the backward pass to save memory",
    "`full` 於反向時重算激活以節省記憶體",
  ),
  slotsPerRank: key(
    z.int().min(1).nullable().default(null),
    "expert slots on each rank; null gives exactly the experts",
    "每個進程的專家槽位；null 為恰好放下專家",
  ),
});

/** Field names are those of the plan and of the worker's own file. World size = pp x tp x cp x dpReplicate x dpShard. */
export const layout = z.union([z.literal("auto"), explicit]);
