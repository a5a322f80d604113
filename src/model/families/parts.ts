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
  readonly mixingRounds?: number;
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

/** Norms after each branch instead of before it. */
export const POST_NORMS = ["post_attention_layernorm", "post_feedforward_layernorm"] as const;
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
      `hidden_size ${hidden} 不是 num_attention_heads ${query} 的倍數`,
      "num_attention_heads",
    );
  }
  if (keyValue === 0 || query % keyValue !== 0) {
    throw c.contradiction(
      `num_attention_heads ${query} is not a multiple of num_key_value_heads ${keyValue}`,
      `num_attention_heads ${query} 不是 num_key_value_heads ${keyValue} 的倍數`,
      "num_key_value_heads",
    );
  }
  return { query, keyValue, dim: c.has("head_dim") ? c.count("head_dim") : hidden / query };
}

/** Names under which configs and classes write the number of experts. */
export const EXPERT_COUNTS = ["n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts"];

/** Experts and choices per token, checked against each other. */
export function expertCounts(c: Fields, ...names: string[]) {
  const experts = c.count(...names, ...EXPERT_COUNTS);
  const topK = c.count(
    "num_experts_per_tok",
    "num_experts_per_token",
    "moe_topk",
    "top_k_experts",
    "experts_per_token",
    "moe_k",
  );
  if (topK > experts) {
    throw c.contradiction(
      `${topK} experts per token, but only ${experts} experts`,
      `每個詞元選 ${topK} 個專家，但只有 ${experts} 個`,
      c.pick("num_experts_per_tok"),
    );
  }
  return { experts, topK };
}

/** Group-limited choice of experts, as the V3 class always does it. */
export function routerGroups(c: Fields) {
  const [count, chosen] = [c.countOr(1, "n_group"), c.countOr(1, "topk_group")];
  const experts = c.countOr(0, ...EXPERT_COUNTS);
  if (count > 1 && experts % count !== 0) {
    throw c.contradiction(
      `${experts} experts do not divide into ${count} groups`,
      `${experts} 個專家無法分成 ${count} 組`,
      "n_group",
    );
  }
  if (count > 1 && chosen > count) {
    throw c.contradiction(
      `topk_group ${chosen} of only ${count} groups`,
      `只有 ${count} 組卻選 topk_group ${chosen} 組`,
      "topk_group",
    );
  }
  return { count, chosen };
}

/** Number of multi-token-prediction modules. */
export const mtpCount = (c: Fields): number =>
  c.flag(true, "use_mtp")
    ? c.countOr(0, "num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules")
    : 0;

/**
 * Multi-token-prediction modules: two norms, one projection of state and embedding, a layer, a norm before the shared
 * head. Names are those of our engine, which adds the modules that the transformers classes drop. `apart`: state and
 * embedding have a projection each (DeepSeek-V4) instead of one for both (DeepSeek-V3); the count is the same.
 */
export function mtpLayers(
  count: number,
  layers: number,
  hidden: number,
  inner: LayerBody,
  options: { readonly apart?: boolean; readonly extra?: readonly Weight[] } = {},
): Layer[] {
  const own = (w: Weight): Weight => ({ ...w, module: "mtp" });
  const nested = (w: Weight): Weight => ({ ...w, name: `layer.${w.name}` });
  const projections = options.apart
    ? ["e_proj", "h_proj"].flatMap((name) => column(name, hidden, hidden, "mtp"))
    : column("eh_proj", hidden, 2 * hidden, "mtp");
  const joined: LayerBody = {
    kind: `mtp+${inner.kind}`,
    weights: [
      ...inner.weights.map(nested),
      ...layerNorms(hidden, "enorm", "hnorm", "norm").map(own),
      ...projections,
      ...(options.extra ?? []),
    ],
    sublayers: inner.sublayers.map((s) => ({ ...s, weights: s.weights.map(nested) })),
  };
  return Array.from({ length: count }, (_, depth) => ({
    index: layers + depth,
    prefix: `mtp.${depth}.`,
    body: joined,
  }));
}
