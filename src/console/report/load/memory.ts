import type { Text } from "../../../base/index.ts";
import { LANGS } from "../../../base/index.ts";
import type { SeriesSource } from "../../../store/index.ts";
import type { Category, MemoryPart } from "../types.ts";
import { at, isJson, type Json, numberAt, textAt } from "./json.ts";

/** The planner's categories as the report groups them. */
const GROUPS: Readonly<Record<string, Category>> = {
  weights: "weights",
  gradients: "gradients",
  optimizer: "optimizer",
  activations: "activations",
  loss: "logits",
  unshard: "buffers",
  communication: "buffers",
  workspace: "buffers",
};

/** Pieces by rank from `plan.json` (`tessera.plan/v1`) with the measured peaks; null when there is no such plan. */
export function readMemory(plan: Json | undefined, source: SeriesSource): MemoryPart | null {
  const classes = at(plan, "memory", "classes");
  const layout = at(plan, "layout");
  if (!plan || !Array.isArray(classes) || !isJson(layout)) return null;
  const needs = classes.map((one) => pieces(at(one, "memory")));
  const world = numberAt(plan, "memory", "world") ?? classes.length;
  // A typed array becomes an object with number keys in JSON.
  const classOf = Object.values((at(plan, "memory", "classOf") as object | undefined) ?? {}) as number[];
  const device = Array.from({ length: world }, (_, rank) => peakOf(source, rank, "peak"));
  const measured = device.some((peak) => peak !== null && peak > 0) ? "device" : "process";
  const ranks = Array.from({ length: world }, (_, rank) => ({
    rank,
    place: placeOf(rank, layout),
    planned: needs[classOf[rank] ?? classIndex(classes, rank)] ?? {},
    measuredPeakBytes: measured === "device" ? (device[rank] ?? null) : peakOf(source, rank, "hostPeak"),
  }));
  const most = Math.max(
    ...needs.map((need) => Object.values(need).reduce((total, bytes) => total + bytes, 0)),
  );
  const free = numberAt(plan, "free");
  return {
    layout: layoutText(layout, textAt(plan, "name"), world),
    why: texts(at(plan, "why")),
    others: otherLayouts(plan),
    capacityBytes: free === undefined ? null : most + free,
    measured,
    ranks,
  };
}

/** Alternatives of the plan; when the recipe gave the layout, those of the free search that was made beside it. */
function otherLayouts(plan: Json): MemoryPart["others"] {
  const beside = at(plan, "others");
  const own = at(plan, "alternatives");
  const list = [
    ...(isJson(beside) ? [beside] : []),
    ...((at(beside, "alternatives") as unknown[] | undefined) ?? []),
    ...(Array.isArray(own) ? own : []),
  ];
  const chosen = textAt(plan, "name");
  const seen = new Set<string | undefined>([chosen]);
  return list.flatMap((other) => {
    const name = textAt(other, "name");
    const seconds = numberAt(other, "seconds");
    if (name === undefined || seconds === undefined || seen.has(name)) return [];
    seen.add(name);
    const whole = texts(at(other, "why"))[0];
    const why = texts([at(other, "why")])[0] ?? whole ?? { en: "", zh: "" };
    return [{ name, seconds, freeBytes: numberAt(other, "free") ?? null, why }];
  });
}

function pieces(memory: unknown): Partial<Record<Category, number>> {
  const out: Partial<Record<Category, number>> = {};
  const add = (category: Category, bytes: number | undefined) => {
    if (bytes) out[category] = (out[category] ?? 0) + bytes;
  };
  for (const [name, category] of Object.entries(GROUPS)) add(category, numberAt(memory, "bytes", name));
  add("other", numberAt(memory, "fragmentation"));
  add("other", numberAt(memory, "framework"));
  return out;
}

/** Without `classOf`: classes in the order of their first rank hold the ranks up to the next one's. */
function classIndex(classes: readonly unknown[], rank: number): number {
  let best = 0;
  for (const [i, one] of classes.entries()) if ((numberAt(one, "first") ?? 0) <= rank) best = i;
  return best;
}

function peakOf(source: SeriesSource, rank: number, name: string): number | null {
  const series = `rank${rank}/memory/${name}`;
  return source.has(series) ? Math.max(...source.scalar(series).value) : null;
}

/** Pipeline and expert place of a rank, by the order that `ep` counts fastest. */
function placeOf(rank: number, layout: Json): string {
  const size = (name: string) => numberAt(layout, name) ?? 1;
  const stage = size("tp") * size("cp") * size("dpReplicate") * size("dpShard");
  const parts = [`pp ${Math.floor(rank / stage)}`];
  if (size("ep") > 1) parts.push(`ep ${rank % size("ep")}`);
  const shard = Math.floor((rank % stage) / size("ep"));
  if (stage / size("ep") > 1) parts.push(`dp ${shard}`);
  return parts.join(" · ");
}

function layoutText(layout: Json, name: string | undefined, world: number): Text {
  const degrees = ["pp", "vpp", "tp", "cp", "dpReplicate", "dpShard", "ep"]
    .filter((key) => (numberAt(layout, key) ?? 1) > 1)
    .map((key) => `${key} ${numberAt(layout, key)}`);
  const what = name ?? (degrees.join(" × ") || "1");
  return { en: `${what} on ${world} ranks`, zh: `${world} 個進程：${what}` };
}

const texts = (value: unknown): Text[] =>
  Array.isArray(value)
    ? value.filter((one): one is Text => LANGS.every((lang) => textAt(one, lang) !== undefined))
    : [];
