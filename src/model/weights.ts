/** Short constructors for weights, in the shapes of torch.nn (a linear layer is [out, in]). */
import type { Cut, Model, ModuleName, Weight, WeightUse } from "./types.ts";

const WHOLE: Cut = { kind: "replicated" };

type Options = { readonly bias?: boolean; readonly units?: number; readonly segments?: readonly number[] };

function make(name: string, shape: readonly number[], module: ModuleName, cut: Cut, use: WeightUse): Weight {
  return { name, shape, module, cut, use, trained: true, counted: true };
}

const detail = (options: Options) => ({
  ...(options.units === undefined ? {} : { units: options.units }),
  ...(options.segments === undefined ? {} : { segments: options.segments }),
});

/** Output features cut over tp. */
export function column(
  name: string,
  out: number,
  into: number,
  module: ModuleName,
  options: Options = {},
): Weight[] {
  const cut: Cut = { kind: "tensor", dim: 0, ...detail(options) };
  const weight = make(`${name}.weight`, [out, into], module, cut, "linear");
  return options.bias ? [weight, make(`${name}.bias`, [out], module, cut, "vector")] : [weight];
}

/** Input features cut over tp; the bias is added once, after the reduction, and so is whole. */
export function row(
  name: string,
  out: number,
  into: number,
  module: ModuleName,
  options: Options = {},
): Weight[] {
  const cut: Cut = { kind: "tensor", dim: 1, ...detail(options) };
  const weight = make(`${name}.weight`, [out, into], module, cut, "linear");
  return options.bias ? [weight, make(`${name}.bias`, [out], module, WHOLE, "vector")] : [weight];
}

/** Linear layer that every tp rank holds whole. */
export function whole(name: string, out: number, into: number, module: ModuleName, bias = false): Weight[] {
  const weight = make(`${name}.weight`, [out, into], module, WHOLE, "linear");
  return bias ? [weight, make(`${name}.bias`, [out], module, WHOLE, "vector")] : [weight];
}

export const norm = (name: string, size: number): Weight => vector(`${name}.weight`, [size], "norm");

/** Parameter that is added or multiplied element by element, held whole unless cut by heads. */
export function vector(name: string, shape: readonly number[], module: ModuleName, units?: number): Weight {
  return make(name, shape, module, units === undefined ? WHOLE : { kind: "tensor", dim: 0, units }, "vector");
}

/** Matrix used as such (nn.Parameter), held whole. */
export const matrix = (name: string, shape: readonly number[], module: ModuleName): Weight =>
  make(name, shape, module, WHOLE, "linear");

export function convolution(
  name: string,
  channels: number,
  width: number,
  segments: readonly number[],
): Weight {
  return make(
    name,
    [channels, 1, width],
    "linearAttention",
    { kind: "tensor", dim: 0, segments },
    "convolution",
  );
}

export const lookup = (name: string, rows: number, width: number): Weight =>
  make(name, [rows, width], "embedding", { kind: "tensor", dim: 0 }, "lookup");

/** Saved with the model, never trained. `counted`: its authors count it among the parameters. */
export const buffer = (
  name: string,
  shape: readonly number[],
  module: ModuleName,
  counted: boolean,
): Weight => ({
  ...make(name, shape, module, WHOLE, "vector"),
  trained: false,
  counted,
});

/** One tensor for all experts, [experts, ...]; `dim` is the one that etp cuts. */
export function experts(
  name: string,
  shape: readonly number[],
  dim: number | null,
  use: WeightUse = "linear",
  segments?: readonly number[],
): Weight {
  return make(name, shape, "experts", { kind: "expert", dim, ...(segments ? { segments } : {}) }, use);
}

export const elements = (weight: Weight): number => weight.shape.reduce((product, size) => product * size, 1);

const tables = new WeakMap<Model, readonly Weight[]>();

/**
 * The table of words alone: what a tied head and prediction modules share with the embedding. Positions, norms and other weights beside
 * it (GPT-2, BLOOM, Gemma 4) belong to the first stage only. The same list at every call, so that sums over it are cached.
 */
export function wordTable(model: Model): readonly Weight[] {
  const { weights } = model.embedding;
  if (weights.length === 1) return weights;
  const known = tables.get(model) ?? weights.slice(0, 1);
  tables.set(model, known);
  return known;
}
