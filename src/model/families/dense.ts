/** Dense models with grouped attention: Llama, Mistral, Qwen2/3, MiMo, and Nemotron's pruned Llamas. */
import { grouped, type GroupedOptions, layerNorms } from "../attention.ts";
import { dense } from "../feedforward.ts";
import type { Fields } from "../fields.ts";
import type { Sublayer } from "../types.ts";
import { around, type Family, heads, layersOf, mtpCount, mtpLayers, PRE_NORMS } from "./parts.ts";

type Traits = {
  /** Bias on q, k, v and on the output projection; from `attention_bias` when absent. */
  readonly bias?: boolean;
  readonly outBias?: boolean;
  readonly queryKeyNorm?: "head" | "full";
  readonly norms?: readonly string[];
  readonly fusedMlp?: boolean;
  readonly fusedAttention?: boolean;
};

const slidingWindow = (c: Fields): number | null =>
  c.flag(true, "use_sliding_window") && c.has("sliding_window") ? c.count("sliding_window") : null;

/** `layer_types` decides layer by layer where it is given; else a window holds for all layers or for none. */
export function windowOf(c: Fields, layers: number): (index: number) => number | null {
  const types = c.strings("layer_types", layers);
  const window = slidingWindow(c);
  const odd = types?.find((type) => !/attention/.test(type));
  if (odd !== undefined) {
    throw c.invalid(
      "layer_types",
      "full_attention or sliding_attention",
      "full_attention 或 sliding_attention",
    );
  }
  if (types) {
    return (index) => (types[index] === "sliding_attention" ? window : null);
  }
  return () => window;
}

export const denseFamily =
  (traits: Traits = {}): Family =>
  (c) => {
    const hidden = c.count("hidden_size");
    const layers = c.count("num_hidden_layers");
    const h = heads(c, hidden);
    const bias = traits.bias ?? c.flag(false, "attention_bias", "qkv_bias", "use_bias");
    const window = windowOf(c, layers);
    const width = c.count("intermediate_size");
    const options: GroupedOptions = {
      bias,
      outBias: traits.outBias ?? bias,
      queryKeyNorm: traits.queryKeyNorm ?? "none",
      fused: traits.fusedAttention ?? false,
    };
    const mlp = dense(hidden, width, {
      bias: c.flag(false, "mlp_bias", "use_bias"),
      fused: traits.fusedMlp ?? false,
    });
    const layer = (index: number) => {
      const attention = grouped(hidden, h.query, h.keyValue, h.dim, { ...options, window: window(index) });
      return {
        kind: window(index) === null ? "full+dense" : "window+dense",
        weights: layerNorms(hidden, ...(traits.norms ?? PRE_NORMS)),
        sublayers: [attention, mlp],
      };
    };
    return {
      ...around(c, hidden),
      layers: layersOf(layers, layer),
      mtp: mtpLayers(mtpCount(c), layers, hidden, layer(layers - 1)),
    };
  };

/** DeciLM: every layer has its own heads and width, and may lack either branch. */
export const prunedLlama: Family = (c) => {
  const hidden = c.count("hidden_size");
  const layers = c.count("num_hidden_layers");
  const query = c.count("num_attention_heads");
  const dim = c.has("head_dim") ? c.count("head_dim") : hidden / query;
  const blocks = c.objects("block_configs", layers);
  if (!blocks) throw c.missing("block_configs");
  const layer = (index: number) => {
    const attention = isOn(blocks[index]?.["attention"]);
    const ffn = isOn(blocks[index]?.["ffn"]);
    const sublayers: Sublayer[] = [];
    if (attention) {
      const group = Number(attention["n_heads_in_group"]);
      if (!Number.isInteger(group) || group < 1 || query % group !== 0) {
        throw c.contradiction(
          `block ${index}: n_heads_in_group ${group} does not divide ${query}`,
          `第 ${index} 塊：n_heads_in_group ${group} 不整除 ${query}`,
          "block_configs",
        );
      }
      sublayers.push(grouped(hidden, query, query / group, dim));
    }
    if (ffn) {
      const factor = Number(ffn["ffn_mult"]);
      if (!(factor > 0))
        throw c.contradiction(
          `block ${index}: ffn_mult ${factor} is not positive`,
          `第 ${index} 塊：ffn_mult ${factor} 不是正數`,
          "block_configs",
        );
      // As DeciLM computes it: two thirds of the multiple, rounded up to 256.
      sublayers.push(dense(hidden, Math.ceil(Math.floor((2 * factor * hidden) / 3) / 256) * 256));
    }
    const names = [attention && "input_layernorm", ffn && "post_attention_layernorm"].filter(
      (n) => n !== null,
    );
    return {
      kind: sublayers.map((s) => s.spec.kind).join("+") || "empty",
      weights: layerNorms(hidden, ...names),
      sublayers,
    };
  };
  return { ...around(c, hidden), layers: layersOf(layers, layer), mtp: [] };
};

function isOn(part: unknown): Record<string, unknown> | null {
  const record = part as Record<string, unknown> | undefined;
  return record === undefined || record["no_op"] === true ? null : record;
}
