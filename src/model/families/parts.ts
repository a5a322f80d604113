/** What the families share: the pieces around the layers, and reading of common fields. */
import { layerNorms } from "../attention.ts";
import type { Fields } from "../fields.ts";
import type { Block, Layer, LayerBody, Sublayer, Weight } from "../types.ts";
import { column, lookup, norm } from "../weights.ts";

/** What a family function gives back; `import.ts` adds name, storage and checks. */
export type Parts = {
  readonly hidden: number;
  readonly vocabulary: number;
  readonly streams?: number;
  readonly tied: boolean;
  readonly embedding: Block;
  readonly layers: readonly Layer[];
  readonly mtp: readonly Layer[];
  readonly head: Block;
};

export type Family = (c: Fields) => Parts;

/** Bodies that are equal become one object, so that later work is cached by identity. */
export function layersOf(
  count: number,
  body: (index: number) => LayerBody,
  prefix = "model.layers.",
): Layer[] {
  const known = new Map<string, LayerBody>();
  return Array.from({ length: count }, (_, index) => {
    const fresh = body(index);
    const key = JSON.stringify(fresh);
    const shared = known.get(key) ?? fresh;
    known.set(key, shared);
    return { index, prefix: `${prefix}${index}.`, body: shared };
  });
}

export type Around = { embedding?: string; norm?: string; extra?: readonly Weight[] };

/** Embedding, final norm and output head. */
export function around(c: Fields, hidden: number, o: Around = {}) {
  const vocabulary = c.count("vocab_size");
  const tied = c.flag(false, "tie_word_embeddings");
  const head = tied ? [] : column("lm_head", vocabulary, hidden, "head");
  return {
    hidden,
    vocabulary,
    tied,
    embedding: { weights: [lookup(o.embedding ?? "model.embed_tokens.weight", vocabulary, hidden)] },
    head: { weights: [norm(o.norm ?? "model.norm", hidden), ...(o.extra ?? []), ...head] },
  };
}

export const PRE_NORMS = ["input_layernorm", "post_attention_layernorm"] as const;

export function body(
  hidden: number,
  sublayers: readonly Sublayer[],
  kind: string,
  extra: readonly Weight[] = [],
) {
  return { kind, weights: [...layerNorms(hidden, ...PRE_NORMS), ...extra], sublayers } satisfies LayerBody;
}

/** Heads, key/value heads and head size, checked against each other. */
export function heads(c: Fields, hidden: number) {
  const query = c.count("num_attention_heads");
  const keyValue = c.countOr(query, "num_key_value_heads");
  if (!c.has("head_dim") && hidden % query !== 0) {
    throw c.contradiction(
      `hidden_size ${hidden} is not a multiple of num_attention_heads ${query}`,
      "num_attention_heads",
    );
  }
  if (keyValue === 0 || query % keyValue !== 0) {
    throw c.contradiction(
      `num_attention_heads ${query} is not a multiple of num_key_value_heads ${keyValue}`,
      "num_key_value_heads",
    );
  }
  return { query, keyValue, dim: c.has("head_dim") ? c.count("head_dim") : hidden / query };
}

/** Experts and choices per token, checked against each other. */
export function expertCounts(c: Fields, ...names: string[]) {
  const experts = c.count(...names);
  const topK = c.count(
    "num_experts_per_tok",
    "num_experts_per_token",
    "moe_topk",
    "top_k_experts",
    "experts_per_token",
  );
  if (topK > experts) {
    throw c.contradiction(
      `${topK} experts per token, but only ${experts} experts`,
      c.pick("num_experts_per_tok"),
    );
  }
  return { experts, topK };
}

/** Number of multi-token-prediction modules. */
export const mtpCount = (c: Fields): number =>
  c.flag(true, "use_mtp")
    ? c.countOr(0, "num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules")
    : 0;

/** DeepSeek-style MTP module: two norms, one projection from both halves, a layer, a norm before the shared head. */
export function mtpLayers(count: number, layers: number, hidden: number, inner: LayerBody): Layer[] {
  return Array.from({ length: count }, (_, index) => ({
    index: layers + index,
    prefix: `model.layers.${layers + index}.`,
    body: {
      kind: `mtp+${inner.kind}`,
      weights: [
        ...inner.weights,
        ...layerNorms(hidden, "enorm", "hnorm", "shared_head.norm").map((w) => ({
          ...w,
          module: "mtp" as const,
        })),
        {
          name: "eh_proj.weight",
          shape: [hidden, 2 * hidden],
          module: "mtp" as const,
          cut: { kind: "tensor" as const, dim: 0 },
          use: "linear" as const,
          trained: true,
          counted: true,
        },
      ],
      sublayers: inner.sublayers,
    },
  }));
}
