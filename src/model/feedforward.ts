/** Weights of dense and mixture-of-experts feed-forward blocks, named as in transformers. */
import type { FeedForward, MoeFeedForward, Sublayer, Weight } from "./types.ts";
import { buffer, column, experts, row, vector, whole } from "./weights.ts";

export type DenseOptions = {
  readonly prefix?: string;
  readonly gated?: boolean;
  readonly bias?: boolean;
  /** gate and up in one tensor. */
  readonly fused?: boolean;
};

function denseWeights(
  p: string,
  hidden: number,
  width: number,
  o: DenseOptions,
  module: "mlp" | "sharedExperts",
): Weight[] {
  const bias = o.bias ?? false;
  const into = !(o.gated ?? true)
    ? column(`${p}up_proj`, width, hidden, module, { bias })
    : o.fused
      ? column(`${p}gate_up_proj`, 2 * width, hidden, module, { bias, segments: [width, width] })
      : [
          ...column(`${p}gate_proj`, width, hidden, module, { bias }),
          ...column(`${p}up_proj`, width, hidden, module, { bias }),
        ];
  return [...into, ...row(`${p}down_proj`, hidden, width, module, { bias })];
}

export function dense(hidden: number, width: number, o: DenseOptions = {}): Sublayer {
  const spec: FeedForward = { kind: "dense", width, gated: o.gated ?? true };
  return { role: "feedForward", spec, weights: denseWeights(o.prefix ?? "mlp.", hidden, width, o, "mlp") };
}

export type MoeOptions = {
  readonly prefix?: string;
  readonly gated?: boolean;
  /** Expert tensors are [E, in, out] (gpt-oss, Llama 4) instead of [E, out, in]. */
  readonly transposed?: boolean;
  readonly expertBias?: boolean;
  readonly router?: string;
  readonly routerBias?: boolean;
  /** Name of the balancing bias, relative to the prefix. */
  readonly correction?: string;
  readonly shared?: {
    readonly name: string;
    readonly width: number;
    readonly fused?: boolean;
    readonly gate?: string;
  };
  /** Tokens are projected to this width before dispatch and back after. */
  readonly latent?: { readonly size: number; readonly into: string; readonly out: string };
  readonly zeroExperts?: number;
  readonly groups?: { readonly count: number; readonly chosen: number };
  readonly hash?: { readonly name: string; readonly vocabulary: number };
  readonly extra?: readonly Weight[];
  /** Where the expert tensors live, if not under the prefix. */
  readonly expertPrefix?: string;
};

export function moe(
  hidden: number,
  count: number,
  topK: number,
  width: number,
  o: MoeOptions = {},
): Sublayer {
  const p = o.prefix ?? "mlp.";
  const e = o.expertPrefix ?? `${p}experts.`;
  const gated = o.gated ?? true;
  const inner = o.latent?.size ?? hidden;
  const rows = (gated ? 2 : 1) * width;
  const parts = gated ? [width, width] : undefined;
  const first = gated ? "gate_up_proj" : "up_proj";
  const zero = o.zeroExperts ?? 0;
  const expertWeights = o.transposed
    ? [
        experts(`${e}${first}`, [count, inner, rows], 2, "linear", parts),
        experts(`${e}down_proj`, [count, width, inner], 1),
      ]
    : [
        experts(`${e}${first}`, [count, rows, inner], 1, "linear", parts),
        experts(`${e}down_proj`, [count, inner, width], 2),
      ];
  if (o.expertBias) {
    expertWeights.push(
      experts(`${e}${first}_bias`, [count, rows], 1, "vector", parts),
      experts(`${e}down_proj_bias`, [count, inner], null, "vector"),
    );
  }
  const weights = [
    ...expertWeights,
    ...whole(`${p}${o.router ?? "gate"}`, count + zero, hidden, "router", o.routerBias),
    ...(o.correction ? [buffer(`${p}${o.correction}`, [count + zero], "router", true)] : []),
    ...(o.hash ? [buffer(`${p}${o.hash.name}`, [o.hash.vocabulary, topK], "router", false)] : []),
    ...(o.shared
      ? denseWeights(
          `${p}${o.shared.name}`,
          hidden,
          o.shared.width,
          { gated, fused: o.shared.fused ?? false },
          "sharedExperts",
        )
      : []),
    ...(o.shared?.gate ? whole(`${p}${o.shared.gate}`, 1, hidden, "sharedExperts") : []),
    ...(o.latent
      ? [
          ...whole(`${p}${o.latent.into}`, o.latent.size, hidden, "latent"),
          ...whole(`${p}${o.latent.out}`, hidden, o.latent.size, "latent"),
        ]
      : []),
    ...(o.extra ?? []),
  ];
  const spec: MoeFeedForward = {
    kind: "moe",
    experts: count,
    topK,
    width,
    gated,
    expertHidden: inner,
    sharedWidth: o.shared?.width ?? 0,
    zeroExperts: zero,
    groups: o.groups ?? null,
    hashRouted: o.hash !== undefined,
  };
  return { role: "feedForward", spec, weights };
}

/** Scale vectors that some routers carry. */
export const routerScales = (names: readonly (readonly [string, number])[]): Weight[] =>
  names.map(([name, size]) => vector(name, [size], "router"));
