/**
 * One reader for decoders that differ only in details: which norms, biases, gates and windows they have, and whether a layer's
 * feed-forward is dense or a mixture. `traits` says the details; the counts are checked against transformers' classes by
 * `bench/layout/transformers.ts`.
 */
import { grouped, type GroupedOptions, latent } from "../attention.ts";
import { dense, moe } from "../feedforward.ts";
import type { Fields } from "../fields.ts";
import type { LayerBody, Sublayer, Weight } from "../types.ts";
import { column, norm, vector } from "../weights.ts";
import { latentShape, moeLayers } from "./deepseek.ts";
import { windowOf } from "./dense.ts";
import { around, EXPERT_COUNTS, expertCounts, type Family, heads, layersOf, PRE_NORMS } from "./parts.ts";

type Traits = {
  readonly norms?: readonly string[];
  /** Norms have a bias beside the scale. */
  readonly normBias?: boolean;
  /** No norm has weights at all (OLMo 1). */
  readonly bareNorms?: boolean;
  /** Bias on q, k, v and on the output projection; from the config's usual fields when absent. */
  readonly bias?: boolean | ((c: Fields) => boolean);
  readonly outBias?: boolean | ((c: Fields) => boolean);
  readonly mlpBias?: (c: Fields) => boolean;
  readonly headBias?: (c: Fields) => boolean;
  readonly queryKeyNorm?: "head" | "full" | ((c: Fields) => "head" | "full" | "none");
  /** Output gate of attention as wide as its output. */
  readonly gated?: boolean;
  readonly sinks?: boolean;
  /** One layer of this many sees the whole past when `layer_types` is absent. */
  readonly every?: number;
  readonly plainMlp?: boolean;
  readonly latentAttention?: boolean;
  /** Weights that each layer has beside the usual ones. */
  readonly extra?: (c: Fields, hidden: number, sparse: boolean) => readonly Weight[];
  readonly mixture?: {
    /** Fields that give the width of an expert, first found. */
    readonly width?: readonly string[];
    /** Width of the shared branch; 0 for none. */
    readonly shared?: (c: Fields, width: number) => number;
    readonly correction?: string;
    readonly router?: string;
    readonly prefix?: string;
    readonly transposed?: boolean;
  };
};

const valueOf = (trait: boolean | ((c: Fields) => boolean) | undefined, c: Fields): boolean | undefined =>
  typeof trait === "function" ? trait(c) : trait;

/** Scale, and bias where norms have one. */
function norms(names: readonly string[], hidden: number, bias: boolean): Weight[] {
  return names.flatMap((name) =>
    bias ? [norm(name, hidden), vector(`${name}.bias`, [hidden], "norm")] : [norm(name, hidden)],
  );
}

/** A window for all layers but every n-th, or as the config's own types say. */
function windows(c: Fields, layers: number, every: number | undefined): (index: number) => number | null {
  const size = c.has("sliding_window") ? c.count("sliding_window") : null;
  if (every === undefined || c.has("layer_types") || size === null) return windowOf(c, layers);
  const turn = c.countOr(every, "sliding_window_pattern") || every;
  return (index) => ((index + 1) % turn === 0 ? null : size);
}

export const decoder =
  (traits: Traits = {}): Family =>
  (c) => {
    const hidden = c.count("hidden_size");
    const layers = c.count("num_hidden_layers");
    const h = heads(c, hidden);
    const window = windows(c, layers, traits.every);
    const bias = valueOf(traits.bias, c) ?? c.flag(false, "attention_bias", "qkv_bias", "use_bias");
    const keyNorm =
      typeof traits.queryKeyNorm === "function" ? traits.queryKeyNorm(c) : (traits.queryKeyNorm ?? "none");
    const outputs = h.query * h.dim;
    const options: GroupedOptions = {
      bias,
      outBias: valueOf(traits.outBias, c) ?? bias,
      queryKeyNorm: keyNorm,
      sinks: traits.sinks ?? false,
      extra: traits.gated
        ? column("self_attn.gate_proj", outputs, hidden, "attention", { units: h.query })
        : [],
    };
    const names = traits.bareNorms ? [] : (traits.norms ?? PRE_NORMS);
    const normBias = traits.normBias ?? false;
    const isMoe =
      traits.mixture && c.pick(...EXPERT_COUNTS) !== undefined ? moeLayers(c, layers) : () => false;
    const layer = (index: number): LayerBody => {
      const sparse = isMoe(index);
      const attention = traits.latentAttention
        ? latent(hidden, { ...latentShape(c), indexer: null }, { bias })
        : grouped(hidden, h.query, h.keyValue, h.dim, { ...options, window: window(index) });
      const feed = sparse ? mixture(c, hidden, traits) : plain(c, hidden, traits);
      const seen = traits.latentAttention ? "mla" : window(index) === null ? "full" : "window";
      return {
        kind: `${seen}+${sparse ? "moe" : "dense"}`,
        weights: [...norms(names, hidden, normBias), ...(traits.extra?.(c, hidden, sparse) ?? [])],
        sublayers: [attention, feed],
      };
    };
    const outer = around(c, hidden);
    const own = outer.head.weights.filter((w) => w.module !== "norm");
    const head = [
      ...(traits.bareNorms ? [] : norms(["model.norm"], hidden, normBias)),
      ...own,
      ...(traits.headBias?.(c) ? [vector("lm_head.bias", [c.count("vocab_size")], "head")] : []),
    ];
    return { ...outer, head: { weights: head }, layers: layersOf(layers, layer), mtp: [] };
  };

function plain(c: Fields, hidden: number, traits: Traits): Sublayer {
  return dense(
    hidden,
    c.count("prefix_dense_intermediate_size", "intermediate_size", "n_inner", "ffn_hidden_size"),
    {
      bias: traits.mlpBias?.(c) ?? c.flag(false, "mlp_bias"),
      gated: !(traits.plainMlp ?? false),
    },
  );
}

function mixture(c: Fields, hidden: number, traits: Traits): Sublayer {
  const m = traits.mixture ?? {};
  const { experts, topK } = expertCounts(c);
  const width = c.count(...(m.width ?? ["moe_intermediate_size", "intermediate_size"]));
  const shared = m.shared?.(c, width) ?? 0;
  return moe(hidden, experts, topK, width, {
    ...(m.prefix ? { prefix: m.prefix } : {}),
    ...(m.router ? { router: m.router } : {}),
    ...(m.correction ? { correction: m.correction } : {}),
    ...(m.transposed ? { transposed: true } : {}),
    ...(shared > 0 ? { shared: { name: "shared_experts.", width: shared } } : {}),
  });
}
