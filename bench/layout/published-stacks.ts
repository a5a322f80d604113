/** What published runs' own sources and recipes say of the stacks that ran them. */
import { HOST_LAYER_SECONDS, MEGATRON_TRAITS, OVERLAPPED, type Traits } from "../../src/layout/index.ts";
import type { Model } from "../../src/model/index.ts";

export type Row = Record<string, string>;

/** Configs beside these tables add no MTP module to DeepSeek-V3 and V3.2, though the published model has one. */
export const withoutMtp = (row: Row): boolean =>
  /Automodel/.test(row["source"] ?? "") ||
  (/torchtitan-npu/.test(row["source"] ?? "") && /V3/.test(row["model"] ?? ""));

/** Recomputation of rows that leave it open, from the recipes published beside them. */
export function recipeRecompute(row: Row): string {
  const [name, device, precision] = [row["model"] ?? "", row["device"] ?? "", row["precision"] ?? ""];
  // Its train_configs set `mode = "full"` for every model of its table.
  if (/torchtitan-npu/.test(row["source"] ?? "")) return "full";
  if (!/Bridge/.test(row["source"] ?? "")) return "";
  if (/GPT.?OSS/i.test(name)) return device === "GB300" ? "" : "selective: layernorm+moe_act";
  if (/V3/.test(name) && device !== "GB300")
    return device === "H100" || /FP8-MX/.test(precision)
      ? "selective: mla_up_proj+mlp"
      : "selective: mla_up_proj";
  return "";
}

/**
 * What a row's source says of its stack, in the row or in the recipes published beside it (Megatron-Bridge
 * `scripts/performance/configs` and `perf_recipes`): tensor-parallel exchange of dense models overlapped; expert exchange overlapped
 * for DeepSeek-V3 in 8 bits from 26.04 on, for Qwen3 in 8 bits from 26.06 on and the 235B on H100, and for gpt-oss on GB200; launches
 * of a mixture's layers replayed in part by graphs on Blackwell (but for gpt-oss, which also uses the plain all-to-all in 16 bits).
 * Recipes in 8 bits from 26.06 on, but for Kimi-K2, replay whole steps: they keep what experts save in pages, and their experts'
 * fused products cast inputs and add biases. Their attention in 8 bits is counted as 16: exponentials bound it on Blackwell
 * (FlashAttention-4). Automodel's balanced gate deals tokens to experts side by side (`FakeBalancedGate`).
 */
export function stackOf(row: Row, model: Model): Traits {
  const [source, notes, name] = [row["source"] ?? "", row["notes"] ?? "", row["model"] ?? ""];
  const release = Number(
    /release (\d+\.\d+)/.exec(notes)?.[1] ?? (/card\.yaml|perf_recipes/.test(source) ? 26.06 : 0),
  );
  const bridge = /Bridge/.test(source);
  const megatron = bridge || /ModelZoo|Primus/.test(source);
  const mixture = model.layers.some(({ body }) => body.sublayers.some(({ spec }) => spec.kind === "moe"));
  const eightBit = /FP8|MX/.test(row["precision"] ?? "");
  const oss = /GPT.?OSS/i.test(name);
  const hopper = (row["device"] ?? "").startsWith("H100");
  const overlapped =
    /1f1b overlap/.test(notes) ||
    (bridge && hopper && /Qwen3.235B/.test(name)) ||
    (bridge && (oss || /V3/.test(name)) && eightBit && release >= 26.04) ||
    (bridge && oss && row["device"] === "GB200" && release >= 26.04) ||
    (bridge && !hopper && /Qwen3/.test(name) && eightBit && release >= 26.06);
  const eager =
    !bridge || hopper || (row["device"] === "B200" && release < 26) || (oss && row["device"] !== "GB300");
  const graphs = eager ? 0 : 0.5;
  const whole = bridge && !hopper && eightBit && release >= 26.06 && mixture && !/Kimi/.test(name);
  const replayed = /full-iteration/.test(notes) || whole ? 1 : graphs;
  return {
    ...MEGATRON_TRAITS,
    deduplicate: (bridge && !(oss && !eightBit)) || /DeepEP/.test(notes),
    consecutive: /Automodel/.test(source) && /balanced gate/.test(notes),
    overlapTensor: bridge && !mixture ? OVERLAPPED : 0,
    overlapExpert: overlapped ? OVERLAPPED : 0,
    fusedCasts: whole,
    fusedBias: whole,
    stash: whole,
    hostLayerSeconds: megatron && mixture ? HOST_LAYER_SECONDS * (1 - replayed) : 0,
  };
}
/** The run that `HOST_LAYER_SECONDS` is read off; it is not scored. */
const givesHostTime = (row: Row): boolean =>
  row["device"] === "B200" && /Qwen3_30B/.test(row["model"] ?? "") && row["mbs"] === "1";

/** Why a row says nothing about the model, by the words of its own source. Such rows are listed with their error, not scored. */
export function setAside(row: Row): string | undefined {
  const notes = row["notes"] ?? "";
  if (/not tuned|functional/.test(notes)) return "its source calls it a functional run, not tuned";
  // The cards' own disclaimer; their performance items run mock data with forced balance.
  if (/verification_cards/.test(row["source"] ?? "") && !/forced balance/.test(notes))
    return "its card calls times outside its performance item functional observations, not optimized results";
  if (/natural routing/.test(notes)) return "routing is not balanced and its loads are not published";
  if (givesHostTime(row)) return "gives the host's time for a layer";
  return undefined;
}

/** What the row leaves open, as the likely source of its error. */
export function reasonFor(row: Row, error: number): string {
  const notes = row["notes"] ?? "";
  const release = Number(/release (\d+\.\d+)/.exec(notes)?.[1] ?? 0);
  if (/V3\.2/.test(row["model"] ?? "") && /torchtitan-npu/.test(row["source"] ?? ""))
    return "not explained: a quarter of the same stack's speed on V3, its sparse attention was new";
  if (/GPT.?OSS/i.test(row["model"] ?? ""))
    return "not explained: its biases are counted, its sinks and per-expert launches are not";
  if (/V4/.test(row["model"] ?? ""))
    return "not explained: kernels of sparse attention and hyper-connections are assumed";
  if (Number(row["cp"]) >= 8)
    return "packed sequences over many context-parallel ranks: exchange depends on the stack";
  if (release > 0 && release < 26 && error < 0)
    return "early release: later ones run the same request up to 1.4 times faster";
  if (/FSDP/i.test(row["optim_shard"] ?? ""))
    return "which layers recompute, and what their exchange hides behind, is not printed";
  if (/NVFP4|FP8|MX/.test(row["precision"] ?? ""))
    return error > 0
      ? "fused low-precision kernels beat the factor shared with other precisions"
      : "low-precision kernels slower than the shared factor";
  return "tuning of this run differs from the anchor's";
}
