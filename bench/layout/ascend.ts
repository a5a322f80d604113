/** The two public DeepSeek-V4 profiles on Ascend 910C, as cases of ours. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { unwrap } from "../../src/base/index.ts";
import { type Cluster, presetCluster } from "../../src/cluster/index.ts";
import {
  BF16_MIXED,
  type Layout,
  MEGATRON_TRAITS,
  SINGLE,
  type Training,
  type Traits,
} from "../../src/layout/index.ts";
import { type StageTerms, TERMS } from "../../src/layout/time/index.ts";
import { type Model, parseModel } from "../../src/model/index.ts";
import { SHARED } from "./shared.ts";

export function v4(name: "Flash" | "Pro"): Model {
  const path = join(SHARED as string, `data/model_configs/deepseek-ai--DeepSeek-V4-${name}_config.json`);
  return unwrap(parseModel(readFileSync(path, "utf8"), { name: `DeepSeek-V4-${name}` }));
}

export const dies = (count: number): Cluster => presetCluster("910c", count) as Cluster;

export const training = (globalBatch: number): Training => ({
  sequence: 4096,
  microBatch: 1,
  globalBatch,
  precision: BF16_MIXED,
  optimizer: "adamw",
  mtp: true,
});

/** torchtitan-npu, V4-Flash on 128 dies: FSDP 128, EP 128, full recompute, optimizer swapped. Published split of 59.67 s. */
export const FLASH_SPLIT = {
  cube: 16.64,
  attention: 11.8,
  vector: 22.08,
  expert: 5.7,
  data: 1.78,
  idle: 1.67,
  step: 59.67,
};
export const flashLayout = (model: Model): Layout => ({
  ...SINGLE,
  dpShard: 128,
  ep: 128,
  zero: 3,
  sequenceParallel: false,
  stages: [model.layers.map((_, i) => i)],
  recompute: { kind: "full" },
  offload: { optimizer: 1, activations: [] },
});

/**
 * T-Rex's released V4-Pro recipe on 512 dies: TP2 PP8 VPP2 EP64, 64 slots of which 3, 62 and 63 are empty, full recompute,
 * optimizer swapped. 32 micro-batches a step is what its operator counts imply, so the global batch is 1,024.
 */
export function proLayout(): Layout {
  const empty = new Set([3, 62, 63]);
  let layer = 0;
  const stages = Array.from({ length: 16 }, (_, stage) =>
    Array.from({ length: 4 }, (_, i) => stage * 4 + i).flatMap((slot) => (empty.has(slot) ? [] : [layer++])),
  );
  return {
    ...SINGLE,
    pp: 8,
    vpp: 2,
    tp: 2,
    ep: 64,
    dpShard: 32,
    schedule: "interleaved1f1b",
    stages,
    recompute: { kind: "full" },
    offload: { optimizer: 1, activations: [] },
  };
}
/** Published communication and compute seconds of the untuned 78.1 s step (26.6 s after tuning). */
export const PRO_SPLIT = {
  tensorAndData: 19.71,
  pipeline: 14.95,
  expert: 5.91,
  other: 0.18,
  compute: 36.7,
  step: 78.1,
};

/** As the stack ran: pipeline messages block, gradients overlap. */
export const ASCEND_TRAITS: Traits = { ...MEGATRON_TRAITS, overlapPipeline: false, overlapSlowdown: 0.1 };

/** T-Rex's launchers ask for no overlap of gradient reduction or weight gathering (`training/sft/train_sft_deepseek4_pro_4k.sh`). */
export const PRO_TRAITS: Traits = { ...ASCEND_TRAITS, overlapData: false };

/** Seconds of each kind of work in a step of one rank, recomputation included in its kinds. */
export function kinds(
  terms: readonly StageTerms[],
  stages: readonly number[],
  micros: number,
): Record<string, number> {
  const out: Record<string, number> = {};
  TERMS.forEach((term, i) => {
    out[term] = stages.reduce((sum, s) => {
      const t = terms[s] as StageTerms;
      return (
        sum +
        micros *
          [t.forward, t.backward, t.weight, t.recompute].reduce((all, part) => all + (part[i] as number), 0)
      );
    }, 0);
  });
  return out;
}
