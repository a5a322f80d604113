import { formatCount, type Text } from "../../base/index.ts";
import {
  layerLoads,
  layerSlots,
  makeLoads,
  makeShape,
  maxOverMean,
  plan,
  startPlacement,
} from "../../experts/index.ts";
import { type Model, moeOf } from "../../model/index.ts";
import type { WorkerLayout } from "../controller/spec.ts";
import type { BalanceLayer } from "../journal/index.ts";
import type { Scanned } from "./scan.ts";
import { fileOfTensor, type IntegerTensor, integerTensor } from "./tensor-file.ts";

/** Tokens that are counted at most: of more, evenly spread parts. A share is then known to well below a per mille. */
const COUNTED = 16 * 1024 * 1024;
const PARTS = 64;

export type Foreseen = {
  readonly placement: Readonly<Record<string, readonly number[]>>;
  readonly line: Text;
  readonly layers: readonly Omit<BalanceLayer, "from" | "to">[];
};

type Known = { readonly id: number; readonly row: Float64Array };

/** Experts of a layer, where they can stand elsewhere before the first step: on several ranks, one copy each. Else 0. */
export function placeable(model: Model, layout: WorkerLayout): number {
  const experts = Math.max(0, ...model.layers.map((layer) => moeOf(layer.body)?.experts ?? 0));
  const slots = layout.slotsPerRank === null ? experts : layout.slotsPerRank * layout.ep;
  return layout.ep >= 2 && slots === experts ? experts : 0;
}

/**
 * Loads of hash-routed layers before the first step: which experts a token goes to is a table of its id (`tid2eid`), so the training data
 * says what every expert will get. Nothing where the model has no such layer, or where its table is not in the base folder (random weights).
 */
export function countHashed(model: Model, baseFolder: string, train: string): Scanned | undefined {
  const hashed = model.layers.flatMap((layer) => {
    const moe = moeOf(layer.body);
    return moe?.hashRouted ? [{ id: layer.index, prefix: layer.prefix, moe }] : [];
  });
  const experts = hashed[0]?.moe.experts ?? 0;
  const ids = hashed.length > 0 ? integerTensor(train, "input_ids") : undefined;
  if (!ids) return undefined;
  const histogram = count(ids, model.vocabulary);
  const layers: Known[] = [];
  for (const { id, prefix } of hashed) {
    const table = hashTable(baseFolder, prefix);
    const [words = 0, k = 0] = table?.shape ?? [];
    if (!table || words > model.vocabulary) return undefined;
    const row = new Float64Array(experts);
    const values = table.read(0, words * k);
    for (let i = 0; i < values.length; i++) {
      const e = values[i] as number;
      if (!(e >= 0 && e < experts)) return undefined;
      row[e] = (row[e] as number) + (histogram[Math.floor(i / k)] as number);
    }
    layers.push({ id, row });
  }
  return { tokens: histogram.reduce((sum, n) => sum + n, 0), layers };
}

/**
 * Places experts before the first step by what is known of the layers: counted from a table of token ids, or scanned. Where both know a
 * layer, the count of all the data stands. Nothing where experts cannot stand elsewhere or the placement that training starts with is as good.
 */
export function foresee(
  model: Model,
  layout: WorkerLayout,
  hashed: Scanned | undefined,
  scanned: Scanned | undefined,
): Foreseen | undefined {
  const experts = placeable(model, layout);
  const counted = hashed?.layers ?? [];
  const fresh = (scanned?.layers ?? []).filter(({ id }) => counted.every((one) => one.id !== id));
  const known = [...counted, ...fresh].filter(({ row }) => row.length === experts);
  if (experts === 0 || known.length === 0) return undefined;
  return placed(known, experts, layout.ep, {
    hashed: hashed?.tokens ?? 0,
    scanned: fresh.length > 0 ? (scanned?.tokens ?? 0) : 0,
  });
}

/** The published files call a layer's mixture `ffn`, the classes of transformers `mlp`; either may have written the folder. */
function hashTable(folder: string, prefix: string): IntegerTensor | undefined {
  for (const mixture of ["ffn", "mlp"]) {
    const name = `${prefix}${mixture}.gate.tid2eid`;
    const table = integerTensor(fileOfTensor(folder, name), name);
    if (table) return table;
  }
  return undefined;
}

function placed(
  known: readonly Known[],
  experts: number,
  ranks: number,
  tokens: { readonly hashed: number; readonly scanned: number },
): Foreseen | undefined {
  const shape = makeShape({ experts, ranks });
  const loads = makeLoads(
    known.map((one) => one.row),
    known.map((one) => one.id),
  );
  if (!shape.ok || !loads.ok) return undefined;
  const planned = plan(loads.value, shape.value);
  if (!planned.ok) return undefined;
  const start = startPlacement(loads.value.ids, shape.value);
  const { placement, layers } = planned.value;
  const found = layers.map(({ layer, ratio, bound }, l) => ({
    layer,
    before: maxOverMean(shape.value, layerSlots(start, l), layerLoads(loads.value, l)),
    after: ratio,
    bound: bound.ratio,
  }));
  const better = found.filter((one) => one.after < one.before * 0.999);
  const worst = better.toSorted((a, b) => b.before - a.before)[0];
  if (!worst) return undefined;
  const says = { layer: worst.layer, before: worst.before.toFixed(3), after: worst.after.toFixed(3) };
  const from = [
    ...(tokens.hashed > 0 ? [{ n: tokens.hashed, en: "tokens counted", zh: "個詞元的計數" }] : []),
    ...(tokens.scanned > 0 ? [{ n: tokens.scanned, en: "tokens scanned", zh: "個詞元的預掃" }] : []),
  ];
  const by = (lang: "en" | "zh", and: string) =>
    from.map((one) => `${formatCount(one.n)} ${one[lang]}`).join(and);
  return {
    placement: Object.fromEntries(
      better.map((one) => [
        String(one.layer),
        Array.from(layerSlots(placement, placement.ids.indexOf(one.layer))),
      ]),
    ),
    layers: better,
    line: {
      en: `placed the experts of ${better.length} ${better.length === 1 ? "layer" : "layers"} before the first step by ${by("en", " and ")} (layer ${says.layer}: ${says.before} -> ${says.after})`,
      zh: `首步之前依${by("zh", "與")}放置 ${better.length} 層的專家（第 ${says.layer} 層：${says.before} → ${says.after}）`,
    },
  };
}

function count(
  ids: { readonly shape: readonly number[]; read(from: number, n: number): Int32Array },
  words: number,
) {
  const all = ids.shape.reduce((product, size) => product * size, 1);
  const histogram = new Float64Array(words);
  const parts = all > COUNTED ? PARTS : 1;
  const each = Math.floor(Math.min(all, COUNTED) / parts);
  for (let part = 0; part < parts; part++) {
    for (const id of ids.read(Math.floor((part * all) / parts), each)) {
      if (id >= 0 && id < words) histogram[id] = (histogram[id] as number) + 1;
    }
  }
  return histogram;
}
