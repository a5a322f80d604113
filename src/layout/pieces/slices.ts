/** Slices of a tensor: boxes given by offset and size along each dimension. */
import type { Cut, Weight } from "../../model/index.ts";

export type Slice = { readonly offset: readonly number[]; readonly size: readonly number[] };

export const sliceElements = ({ size }: Slice): number => size.reduce((product, n) => product * n, 1);

export const wholeSlice = (shape: readonly number[]): Slice => ({
  offset: shape.map(() => 0),
  size: [...shape],
});

/** The same slice with dimension `dim` narrowed to [from, to). */
export function narrow(slice: Slice, dim: number, from: number, to: number): Slice {
  return { offset: slice.offset.with(dim, from), size: slice.size.with(dim, to - from) };
}

/**
 * Ranges of a dimension of length `n` that way `index` of `ways` holds: one for each segment. Units are never split;
 * with fewer units than ways, neighbours hold the same one.
 */
function cutRanges(
  n: number,
  ways: number,
  index: number,
  cut: { readonly units?: number; readonly segments?: readonly number[] },
): [number, number][] {
  if (ways === 1) return [[0, n]];
  if (cut.segments) {
    let start = 0;
    return cut.segments.flatMap((length) => {
      const inside = cutRanges(length, ways, index, {}).map(([a, b]): [number, number] => [
        start + a,
        start + b,
      ]);
      start += length;
      return inside;
    });
  }
  const units = cut.units ?? n;
  const unit = n / units;
  if (units < ways) {
    const mine = Math.floor((index * units) / ways);
    return [[mine * unit, (mine + 1) * unit]];
  }
  // An uneven count gives the first ways one unit more.
  const at = (i: number) => Math.floor(units / ways) * i + Math.min(i, units % ways);
  return [[at(index) * unit, at(index + 1) * unit]];
}

/** Slices of a weight on one rank after the model cuts (tp, ep, etp), slot by slot for experts. */
export function modelSlices(
  weight: Pick<Weight, "shape" | "cut">,
  ways: { readonly tp: number; readonly tpRank: number; readonly etp: number; readonly etpRank: number },
  experts: readonly number[],
): Slice[] {
  const all = wholeSlice(weight.shape);
  const cut: Cut = weight.cut;
  if (cut.kind === "replicated") return [all];
  if (cut.kind === "tensor") {
    const n = weight.shape[cut.dim] as number;
    return cutRanges(n, ways.tp, ways.tpRank, cut).map(([from, to]) => narrow(all, cut.dim, from, to));
  }
  return experts.flatMap((expert) => {
    const one = narrow(all, 0, expert, expert + 1);
    if (cut.dim === null) return [one];
    const dim = cut.dim;
    const ranges = cutRanges(weight.shape[dim] as number, ways.etp, ways.etpRank, cut);
    return ranges.map(([from, to]) => narrow(one, dim, from, to));
  });
}
