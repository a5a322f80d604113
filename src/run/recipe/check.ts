import type { Recipe } from "./schema.ts";

/** Something no single key shows: two keys that cannot hold together. `path` is the key to correct. */
export type Conflict = {
  readonly path: readonly (string | number)[];
  readonly en: string;
  readonly zh: string;
};

/** Conflicts between keys of a recipe whose keys are each right; empty when it holds together. */
export function conflicts(recipe: Recipe): Conflict[] {
  const found: Conflict[] = [];
  const add = (path: Conflict["path"], en: string, zh: string) => found.push({ path, en, zh });
  const { batch, layout } = recipe;
  if (batch.globalBatch % batch.microBatch !== 0) {
    add(
      ["batch", "globalBatch"],
      `globalBatch ${batch.globalBatch} is not a multiple of microBatch ${batch.microBatch}`,
      `globalBatch ${batch.globalBatch} 不是 microBatch ${batch.microBatch} 的倍數`,
    );
  }
  if (layout === "auto") return found;
  if (layout.slotsPerRank !== null && recipe.moe.spareSlots > 0) {
    add(
      ["moe", "spareSlots"],
      "layout.slotsPerRank already says how many slots a rank has; give one of the two",
      "layout.slotsPerRank 已指定每個進程的槽位數；兩者只能擇一",
    );
  }
  for (const key of ["tp", "cp"] as const) {
    if (layout[key] === 1) continue;
    add(
      ["layout", key],
      `the engine does not split ${key === "tp" ? "matrices" : "sequences"} over ranks: ${key} must be 1`,
      `引擎不在進程間切分${key === "tp" ? "矩陣" : "序列"}：${key} 須為 1`,
    );
  }
  if (layout.dpShard % layout.ep !== 0) {
    add(
      ["layout", "ep"],
      `ep ${layout.ep} does not divide dpShard ${layout.dpShard}`,
      `ep ${layout.ep} 不能整除 dpShard ${layout.dpShard}`,
    );
  }
  const copies = layout.dpReplicate * layout.dpShard;
  if (batch.globalBatch % (batch.microBatch * copies) !== 0) {
    add(
      ["batch", "globalBatch"],
      `globalBatch ${batch.globalBatch} is not a multiple of microBatch x dpReplicate x dpShard = ${batch.microBatch * copies}`,
      `globalBatch ${batch.globalBatch} 不是 microBatch × dpReplicate × dpShard = ${batch.microBatch * copies} 的倍數`,
    );
  }
  if (layout.vpp > 1 !== (layout.schedule === "interleaved1f1b")) {
    add(
      ["layout", "schedule"],
      `vpp ${layout.vpp} does not go with the schedule ${layout.schedule}: interleaved1f1b is for vpp > 1`,
      `vpp ${layout.vpp} 與排程 ${layout.schedule} 不合：interleaved1f1b 用於 vpp > 1`,
    );
  }
  if (layout.vpp > 1 && layout.pp === 1) {
    add(["layout", "vpp"], `vpp ${layout.vpp} needs pp > 1`, `vpp ${layout.vpp} 需要 pp > 1`);
  }
  const microBatches = batch.globalBatch / (batch.microBatch * copies);
  if (layout.vpp > 1 && Number.isInteger(microBatches) && microBatches % layout.pp !== 0) {
    add(
      ["batch", "globalBatch"],
      `interleaved1f1b needs micro-batches in multiples of pp ${layout.pp}, and a rank has ${microBatches} of them`,
      `interleaved1f1b 的微批次數須為 pp ${layout.pp} 的倍數，但每個進程有 ${microBatches} 個`,
    );
  }
  if (layout.stages) {
    const stages = layout.pp * layout.vpp;
    if (layout.stages.length !== stages) {
      add(
        ["layout", "stages"],
        `${layout.stages.length} stages are listed but pp x vpp = ${stages}`,
        `列出 ${layout.stages.length} 段，但 pp × vpp = ${stages}`,
      );
    }
    const layers = layout.stages.flat();
    if (layers.some((layer, at) => layer !== at)) {
      add(
        ["layout", "stages"],
        "the stages must list layers 0, 1, 2 ... once each, in order",
        "各段須依序列出第 0、1、2…層，各一次",
      );
    }
  }
  return found;
}
