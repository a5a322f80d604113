import { err, ok, type Result } from "../base/index.ts";
import { fail } from "./errors.ts";
import { tooMany } from "./shape.ts";

/**
 * Tokens per expert: `values[l * experts + e]` is the load of expert e in the l-th layer. `ids[l]` is the layer's number in
 * the model, which placements and relocation commands use. Any unit: tokens of a step, a mean, a share.
 */
export type Loads = {
  readonly ids: readonly number[];
  readonly layers: number;
  readonly experts: number;
  readonly values: Float64Array;
};

/** A load is 0 or between these: sums, shares and products of such numbers neither overflow nor vanish. */
const LEAST = 1e-200;
const MOST = 1e200;

/** Checks rows and makes loads. Errors: EXPERTS_LOADS_EMPTY, EXPERTS_LOADS_RAGGED, EXPERTS_LOADS_VALUE. */
export function makeLoads(
  rows: readonly (readonly number[] | Float64Array | Int32Array | Uint32Array)[],
  ids?: readonly number[],
): Result<Loads> {
  const names = ids ?? rows.map((_, l) => l);
  const first = rows[0];
  if (!first) return err(fail("EXPERTS_LOADS_EMPTY", { why: "no layer / 沒有任何層" }));
  const experts = first.length;
  if (experts === 0) return err(fail("EXPERTS_LOADS_EMPTY", { why: `layer ${names[0]}` }));
  const many = tooMany({ experts });
  if (many) return err(many);
  const values = new Float64Array(rows.length * experts);
  for (let l = 0; l < rows.length; l++) {
    const row = rows[l] as ArrayLike<unknown>;
    const layer = names[l] as number;
    if (row.length !== experts) {
      const params = { layer, got: row.length, want: experts, first: names[0] as number };
      return err(fail("EXPERTS_LOADS_RAGGED", params));
    }
    for (let e = 0; e < experts; e++) {
      const value = row[e];
      if (typeof value !== "number" || !(value === 0 || (value >= LEAST && value <= MOST))) {
        return err(fail("EXPERTS_LOADS_VALUE", { layer, expert: e, value: shown(value) }));
      }
      values[l * experts + e] = value;
    }
  }
  return ok({ ids: [...names], layers: rows.length, experts, values });
}

/** Loads of one layer, a view, not a copy. */
export const layerLoads = (loads: Loads, layer: number): Float64Array =>
  loads.values.subarray(layer * loads.experts, (layer + 1) * loads.experts);

function shown(value: unknown): string {
  if (typeof value === "number" || value === null || value === undefined) return String(value);
  return (JSON.stringify(value) ?? typeof value).slice(0, 40);
}
