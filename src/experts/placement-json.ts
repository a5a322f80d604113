import { err, type Result } from "../base/index.ts";
import { fail } from "./errors.ts";
import { checkPlacement, copyCounts, layerSlots, type Placement } from "./placement.ts";
import type { Shape } from "./shape.ts";

/** A placement as a file: shape in words, experts of the slots by the layer's number in the model. */
export type PlacementJson = {
  readonly schema: "tessera.placement/v1";
  readonly experts: number;
  readonly ranks: number;
  readonly nodes: number;
  readonly groups: number;
  readonly slotsPerRank: readonly number[];
  readonly layers: Readonly<Record<string, readonly number[]>>;
};

export function placementJson(placement: Placement): PlacementJson {
  const { shape, ids } = placement;
  return {
    schema: "tessera.placement/v1",
    experts: shape.experts,
    ranks: shape.ranks,
    nodes: shape.nodes,
    groups: shape.groups,
    slotsPerRank: Array.from(
      { length: shape.ranks },
      (_, r) => (shape.slotStart[r + 1] as number) - (shape.slotStart[r] as number),
    ),
    layers: Object.fromEntries(ids.map((id, l) => [String(id), Array.from(layerSlots(placement, l))])),
  };
}

/** EPLB's three maps, as nested arrays: slots to experts, experts to slots (padded with -1), copies of each expert. */
export type EplbMaps = {
  readonly physical_to_logical_map: number[][];
  readonly logical_to_physical_map: number[][][];
  readonly logical_count: number[][];
};

export function eplbMaps(placement: Placement): EplbMaps {
  const { experts } = placement.shape;
  const rows = placement.ids.map((_, l) => layerSlots(placement, l));
  const counts = rows.map((row) => copyCounts(experts, row));
  const most = Math.max(...counts.map((count) => Math.max(...count)));
  const places = rows.map((row) => {
    const lists: number[][] = Array.from({ length: experts }, () => []);
    row.forEach((e, s) => {
      (lists[e] as number[]).push(s);
    });
    return lists.map((list) => [...list, ...Array.from({ length: most - list.length }, () => -1)]);
  });
  return {
    physical_to_logical_map: rows.map((row) => Array.from(row)),
    logical_to_physical_map: places,
    logical_count: counts.map((count) => Array.from(count)),
  };
}

/**
 * Reads a placement for given layers and shape: our JSON, a document that contains one under `placement`, EPLB's map, or the layers of a
 * relocation command. Of these only EPLB's map may hold an expert twice on a rank (`partTwins`). Errors: EXPERTS_PLACEMENT_FORMAT, EXPERTS_PLACEMENT_OTHER, EXPERTS_PLACEMENT_INVALID.
 */
export function readPlacement(
  text: string,
  ids: readonly number[],
  shape: Shape,
  file?: string,
): Result<Placement> {
  const place = file === undefined ? {} : { file };
  const unreadable = (why: string) => err(fail("EXPERTS_PLACEMENT_FORMAT", { why }, place));
  const different = (what: string, got: unknown, want: string | number) =>
    err(fail("EXPERTS_PLACEMENT_OTHER", { what, got: String(got), want }, place));
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return unreadable("not JSON / 不是 JSON");
  }
  let document = value as Record<string, unknown> | null;
  if (isObject(document?.["placement"])) {
    const inner = document["placement"];
    // A relocation command names its layers right there.
    const whole = inner["layers"] !== undefined || inner["physical_to_logical_map"] !== undefined;
    document = whole ? inner : { layers: inner };
  }
  if (!isObject(document)) return unreadable("no object / 不是物件");
  // Nodes and groups may be named otherwise: the same slots keep their rules, or break one.
  for (const what of ["experts", "ranks"] as const) {
    if (document[what] !== undefined && document[what] !== shape[what]) {
      return different(what, document[what], shape[what]);
    }
  }
  const map = document["physical_to_logical_map"];
  const byLayer = document["layers"];
  let rows: unknown[];
  if (Array.isArray(map)) {
    if (map.length !== ids.length) return different("layers", map.length, ids.length);
    rows = map;
  } else if (isObject(byLayer)) {
    const got = Object.keys(byLayer)
      .map(Number)
      .sort((a, b) => a - b);
    if (got.join() !== [...ids].sort((a, b) => a - b).join()) {
      return different("layers", shorten(got), shorten(ids));
    }
    rows = ids.map((id) => byLayer[String(id)]);
  } else return unreadable('no "layers" and no "physical_to_logical_map" / 沒有層');
  const slots = new Int32Array(ids.length * shape.slots);
  for (let l = 0; l < rows.length; l++) {
    const row = rows[l];
    if (!Array.isArray(row)) return unreadable(`layer ${ids[l]}: no array / 不是陣列`);
    if (row.length !== shape.slots) return different(`slots (layer ${ids[l]})`, row.length, shape.slots);
    const odd = row.findIndex((e) => !Number.isSafeInteger(e) || e < 0 || e >= shape.experts);
    if (odd >= 0)
      return different(`expert of slot ${odd} (layer ${ids[l]})`, row[odd], `0..${shape.experts - 1}`);
    slots.set(row as number[], l * shape.slots);
  }
  const checked = checkPlacement({ ids: [...ids], layers: ids.length, shape, slots }, Array.isArray(map));
  return checked.ok ? checked : err(fail("EXPERTS_PLACEMENT_INVALID", checked.error.params, place));
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const shorten = (ids: readonly number[]): string =>
  ids.length > 6 ? `${ids.slice(0, 3).join(",")}…${ids.at(-1)} (${ids.length})` : ids.join(",");
