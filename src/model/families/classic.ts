/** Decoders of the first generation: learned positions, norms and projections with biases, plain feed-forward blocks. */
import { grouped } from "../attention.ts";
import { dense } from "../feedforward.ts";
import type { Fields } from "../fields.ts";
import type { LayerBody, Weight } from "../types.ts";
import { column, lookup, norm, vector, whole } from "../weights.ts";
import { type Family, layersOf } from "./parts.ts";

type Traits = {
  /** Rows of the table of learned positions; 0 where positions are rotary or a slope. */
  readonly positions?: (c: Fields) => number;
  readonly keyValue?: (c: Fields, heads: number) => number;
  readonly width?: (c: Fields, hidden: number) => number;
  /** Branches side by side, under one norm. */
  readonly parallel?: boolean;
  readonly bias?: (c: Fields) => boolean;
  readonly outBias?: boolean;
  readonly mlpBias?: boolean;
  readonly normBias?: boolean;
  readonly headBias?: boolean;
  /** A norm after the embedding (BLOOM). */
  readonly embeddingNorm?: boolean;
  readonly finalNorm?: (c: Fields) => boolean;
  readonly window?: (c: Fields, index: number) => number | null;
  /** Width of the embedding where it is not the model's. */
  readonly embeddingWidth?: (c: Fields, hidden: number) => number;
};

const classic =
  (traits: Traits = {}): Family =>
  (c) => {
    const hidden = c.count("n_embd", "hidden_size", "d_model");
    const layers = c.count("n_layer", "num_hidden_layers", "num_layers", "n_layers");
    const heads = c.count("n_head", "num_attention_heads", "num_heads", "n_heads");
    if (hidden % heads !== 0) {
      throw c.contradiction(
        `${hidden} channels do not divide into ${heads} heads`,
        `${hidden} 個通道無法分成 ${heads} 個頭`,
        c.pick("n_head", "num_attention_heads", "num_heads", "n_heads"),
      );
    }
    const vocabulary = c.count("vocab_size");
    const tied = c.flag(false, "tie_word_embeddings");
    const bias = traits.bias?.(c) ?? true;
    const norms = (name: string): Weight[] =>
      (traits.normBias ?? true)
        ? [norm(name, hidden), vector(`${name}.bias`, [hidden], "norm")]
        : [norm(name, hidden)];
    const mlp = dense(hidden, traits.width?.(c, hidden) ?? c.countOr(4 * hidden, "n_inner"), {
      gated: false,
      bias: traits.mlpBias ?? bias,
    });
    const layer = (index: number): LayerBody => {
      const window = traits.window?.(c, index) ?? null;
      const attention = grouped(hidden, heads, traits.keyValue?.(c, heads) ?? heads, hidden / heads, {
        bias,
        outBias: traits.outBias ?? bias,
        window,
      });
      return {
        kind: `${window === null ? "full" : "window"}+dense`,
        weights: (traits.parallel ? ["ln_1"] : ["ln_1", "ln_2"]).flatMap(norms),
        sublayers: [attention, mlp],
      };
    };
    const width = traits.embeddingWidth?.(c, hidden) ?? hidden;
    const positions = traits.positions?.(c) ?? 0;
    return {
      hidden,
      vocabulary,
      tied,
      embedding: {
        weights: [
          lookup("transformer.wte.weight", vocabulary, width),
          ...(positions > 0 ? [lookup("transformer.wpe.weight", positions, hidden)] : []),
          ...(width === hidden ? [] : whole("transformer.project_in", hidden, width, "embedding")),
          ...(traits.embeddingNorm ? norms("transformer.word_embeddings_layernorm") : []),
        ],
      },
      layers: layersOf(layers, layer, "transformer.h."),
      mtp: [],
      head: {
        weights: [
          ...((traits.finalNorm?.(c) ?? true) ? norms("transformer.ln_f") : []),
          ...(width === hidden ? [] : whole("transformer.project_out", width, hidden, "head")),
          ...(tied ? [] : column("lm_head", vocabulary, width, "head")),
          ...(traits.headBias ? [vector("lm_head.bias", [vocabulary], "head")] : []),
        ],
      },
    };
  };

const learned = (c: Fields) => c.count("n_positions", "max_position_embeddings");
const sideBySide = {
  parallel: true,
  bias: () => false,
  mlpBias: true,
  headBias: true,
} as const satisfies Traits;

export const CLASSIC: Readonly<Record<string, Family>> = {
  gpt2: classic({ positions: learned }),
  gpt_bigcode: classic({
    positions: learned,
    keyValue: (c, heads) => (c.flag(true, "multi_query") ? 1 : heads),
  }),
  gptj: classic(sideBySide),
  codegen: classic(sideBySide),
  gpt_neo: classic({
    positions: learned,
    bias: () => false,
    outBias: true,
    mlpBias: true,
    width: (c, hidden) => c.countOr(4 * hidden, "intermediate_size"),
    // Published configs repeat a pattern; layers take turns where none is written.
    window: (c, index) => {
      const kind = c.strings("attention_layers")?.[index] ?? (index % 2 === 0 ? "global" : "local");
      return kind === "local" ? c.countOr(256, "window_size") : null;
    },
  }),
  opt: classic({
    // The class keeps two rows in front for padding.
    positions: (c) => c.count("max_position_embeddings") + 2,
    bias: (c) => c.flag(true, "enable_bias"),
    width: (c) => c.count("ffn_dim"),
    embeddingWidth: (c, hidden) => c.countOr(hidden, "word_embed_proj_dim"),
    finalNorm: (c) => c.flag(true, "do_layer_norm_before") && !c.flag(false, "_remove_final_layer_norm"),
  }),
  bloom: classic({ embeddingNorm: true }),
  mpt: classic({
    bias: (c) => !c.flag(true, "no_bias"),
    normBias: false,
    width: (c, hidden) => c.countOr(4, "expansion_ratio") * hidden,
  }),
};
