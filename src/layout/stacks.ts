import type { Cluster } from "../cluster/index.ts";
import type { Model } from "../model/index.ts";
import type { Layout } from "./layout.ts";
import type { Traits } from "./time/index.ts";

/** Stacks by the ZeRO level they run unless told otherwise. All but our own follow the Megatron-class rules. */
export const STACKS = {
  megatron: 1,
  mindspeed: 1,
  bridge: 1,
  fsdp2: 3,
  torchtitan: 3,
  automodel: 3,
  veomni: 3,
  tessera: 3,
} as const satisfies Readonly<Record<string, Layout["zero"]>>;
export type Stack = keyof typeof STACKS;

/** Stacks of plain PyTorch layers, whose loss is torch's own on fp32 logits. VeOmni fuses its loss with the head. */
export const TORCH_STACKS: ReadonlySet<Stack> = new Set(["fsdp2", "torchtitan", "automodel"]);

/**
 * Host seconds to launch a mixture's layer, forward and backward: Qwen3-30B on eight B200 under Megatron-Bridge 25.11 takes 28.19 s
 * for 64 micro-batches of 48 layers that leave the device waiting.
 */
export const HOST_LAYER_SECONDS = 28.19 / 64 / 48;
/** Share of an exchange that a stack which overlaps it hides. Assumed. */
export const OVERLAPPED = 0.8;

/**
 * How a stack's published recipes run where a case does not say, beyond what all Megatron-class stacks do.
 * - Megatron-Bridge (`scripts/performance`): a mixture's tokens go through DeepEP or HybridEP, which send each once to a rank and a
 *   node; its launches are replayed by graphs in part on Blackwell; tensor-parallel exchange of dense models is overlapped.
 * - NeMo AutoModel (`examples/llm_benchmark`): the same dispatchers.
 */
export function stackTraits(stack: Stack, model: Model, cluster: Cluster): Partial<Traits> {
  if (stack !== "bridge" && stack !== "automodel") return {};
  const mixture = model.layers.some(({ body }) => body.sublayers.some(({ spec }) => spec.kind === "moe"));
  if (!mixture) return stack === "bridge" ? { overlapTensor: OVERLAPPED } : {};
  if (stack === "automodel") return { deduplicate: true };
  // Recipes capture layers in graphs where the device has 4-bit products, that is from Blackwell on.
  const graphs = cluster.groups.every(({ device }) => device.peak.fp4 !== undefined) ? 0.5 : 0;
  return { deduplicate: true, hostLayerSeconds: HOST_LAYER_SECONDS * (1 - graphs) };
}
