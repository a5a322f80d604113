import { formatBytes, formatSeconds, type Text } from "../../base/index.ts";
import { type Layout, type Recompute, worldOf } from "../layout.ts";
import { CATEGORIES, type Category, type MemoryReport } from "../memory/types.ts";
import { STEP_TERMS, type Breakdown, type StepTerm } from "../time/index.ts";
import type { ConstraintName } from "./problems.ts";
import type { Found } from "./found.ts";
import type { Rejected, SearchResult } from "./search.ts";

export const TERM_NAMES: Readonly<Record<StepTerm, Text>> = {
  matrix: { en: "matrix products", zh: "矩陣乘" },
  grouped: { en: "expert products", zh: "專家矩陣乘" },
  attention: { en: "attention", zh: "注意力" },
  vector: { en: "vector work", zh: "向量運算" },
  recompute: { en: "recomputation", zh: "重算" },
  tensor: { en: "tensor-parallel exchange", zh: "張量並行通信" },
  context: { en: "context-parallel exchange", zh: "上下文並行通信" },
  expert: { en: "expert exchange", zh: "專家通信" },
  pipeline: { en: "pipeline sends", zh: "流水線發送" },
  bubble: { en: "pipeline bubble", zh: "流水線氣泡" },
  data: { en: "gradient and weight exchange", zh: "梯度與權重通信" },
  optimizer: { en: "optimizer", zh: "優化器" },
  swap: { en: "swap to host", zh: "換出主機" },
  host: { en: "host work", zh: "主機開銷" },
};

export const CATEGORY_NAMES: Readonly<Record<Category, Text>> = {
  weights: { en: "weights", zh: "權重" },
  gradients: { en: "gradients", zh: "梯度" },
  optimizer: { en: "optimizer", zh: "優化器" },
  activations: { en: "activations", zh: "激活" },
  unshard: { en: "gathered", zh: "聚合" },
  communication: { en: "comm buffers", zh: "通信緩衝" },
  loss: { en: "loss", zh: "損失" },
  workspace: { en: "workspace", zh: "工作區" },
};

export const CONSTRAINT_NAMES: Readonly<Record<ConstraintName, Text>> = {
  world: { en: "device count", zh: "加速器數量" },
  batch: { en: "batch does not divide", zh: "批次不能整除" },
  heads: { en: "heads do not divide", zh: "注意力頭不能整除" },
  experts: { en: "experts do not divide", zh: "專家數不能整除" },
  stageRanks: { en: "expert ranks do not tile the stage", zh: "專家並行無法鋪滿階段" },
  stages: { en: "stage list", zh: "階段劃分" },
  schedule: { en: "schedule", zh: "排程" },
  contextParallel: { en: "context parallelism", zh: "上下文並行" },
  recompute: { en: "recomputation", zh: "重算" },
  engine: { en: "engine", zh: "引擎" },
  target: { en: "the stack to export to", zh: "輸出目標框架" },
  memory: { en: "device memory", zh: "加速器記憶體" },
  hostMemory: { en: "host memory", zh: "主機記憶體" },
  slower: { en: "slower", zh: "較慢" },
};

/** Degrees in one short line: `PP8 VPP2 TP2 EP64 DP32 interleaved1f1b`. */
export function layoutName(layout: Layout, microBatch?: number): string {
  const parts = [`PP${layout.pp}`];
  if (layout.vpp > 1) parts.push(`VPP${layout.vpp}`);
  if (layout.tp > 1) parts.push(`TP${layout.tp}`);
  if (layout.cp > 1)
    parts.push(`CP${layout.cp}${layout.contextParallel === "allGather" ? "" : `-${layout.contextParallel}`}`);
  if (layout.ep > 1) parts.push(`EP${layout.ep}`);
  if (layout.etp > 1) parts.push(`ETP${layout.etp}`);
  parts.push(`DP${layout.dpReplicate > 1 ? `${layout.dpReplicate}x` : ""}${layout.dpShard}`);
  if (layout.zero !== 1) parts.push(`ZeRO${layout.zero}`);
  if (microBatch !== undefined) parts.push(`MB${microBatch}`);
  if (layout.pp > 1) parts.push(layout.schedule);
  const { recompute } = layout;
  if (recompute.kind === "full")
    parts.push(recompute.layers === undefined ? "recompute" : `recompute:${recompute.layers}`);
  if (recompute.kind === "selective") parts.push(`recompute(${recompute.regions.length})`);
  if (layout.offload.optimizer > 0) parts.push("swap");
  return parts.join(" ");
}

/** What the short form of a recomputation in a name stands for; undefined where the name says it all. */
export function recomputeText(recompute: Recompute): Text | undefined {
  if (recompute.kind === "selective") {
    const { regions } = recompute;
    return {
      en: `recompute(${regions.length}) computes again: ${regions.join(", ")}`,
      zh: `recompute(${regions.length}) 重算：${regions.join("、")}`,
    };
  }
  if (recompute.kind === "none" || recompute.layers === undefined) return undefined;
  const { layers } = recompute;
  return {
    en: `recompute:${layers} computes ${layers} whole ${layers === 1 ? "layer" : "layers"} of each stage again`,
    zh: `recompute:${layers} 重算每個階段的 ${layers} 個整層`,
  };
}

/** Seconds of each term in one layout beyond another; they add up to the difference of the steps. */
export function difference(of: Breakdown, from: Breakdown): Breakdown {
  return Object.fromEntries(STEP_TERMS.map((term) => [term, of[term] - from[term]])) as Breakdown;
}

/** The terms that cost the other layout most, as one sentence. */
export function whySlower(other: Found, best: Found): Text {
  const by = difference(other.time.breakdown, best.time.breakdown);
  const total = other.time.seconds - best.time.seconds;
  const sorted = STEP_TERMS.map((term) => ({ term, seconds: by[term] })).sort(
    (a, b) => b.seconds - a.seconds,
  );
  const pct = (x: number) => `${x >= 0 ? "+" : "−"}${Math.abs((100 * x) / best.time.seconds).toFixed(1)} %`;
  const lost = sorted.filter(({ seconds }) => seconds > 0.003 * best.time.seconds).slice(0, 3);
  const won = sorted.filter(({ seconds }) => seconds < -0.003 * best.time.seconds).slice(-2);
  const list = (lang: "en" | "zh") =>
    [...lost, ...won]
      .map(({ term, seconds }) => `${TERM_NAMES[term][lang]} ${pct(seconds)}`)
      .join(lang === "en" ? ", " : "、");
  if (lost.length + won.length === 0) {
    const room = formatBytes(Math.abs(other.free - best.free));
    const more = other.free >= best.free;
    return {
      en: `${pct(total)}: the same pace, ${room} ${more ? "more" : "less"} free`,
      zh: `${pct(total)}：速度相同，空閒${more ? "多" : "少"} ${room}`,
    };
  }
  return { en: `${pct(total)}: ${list("en")}`, zh: `${pct(total)}：${list("zh")}` };
}

/** What fills the rank that needs most, largest first. */
function whereBytesGo(memory: MemoryReport): Text {
  const { ppRank, memory: rank } = memory.classes[memory.worst] as MemoryReport["classes"][number];
  const parts: [Text, number][] = [
    ...CATEGORIES.map((name): [Text, number] => [CATEGORY_NAMES[name], rank.bytes[name]]),
    [{ en: "fragmentation", zh: "碎片" }, rank.fragmentation],
    [{ en: "framework", zh: "框架" }, rank.framework],
  ];
  const all = rank.reserved + rank.framework;
  const shown = parts.filter(([, bytes]) => bytes > 0.01 * all).sort((a, b) => b[1] - a[1]);
  const list = (lang: "en" | "zh") =>
    shown.map(([name, bytes]) => `${name[lang]} ${formatBytes(bytes)}`).join(lang === "en" ? ", " : "、");
  const host = rank.host > 0 ? formatBytes(rank.host) : undefined;
  return {
    en: `The fullest stage (${ppRank}) holds ${formatBytes(all)} on each device: ${list("en")}${host ? `; ${host} more on the host` : ""}.`,
    zh: `最滿的階段（${ppRank}）每個加速器占 ${formatBytes(all)}：${list("zh")}${host ? `；另有 ${host} 在主機` : ""}。`,
  };
}

/** Why the winner won: where its time goes and what limits it. */
export function whyBest(best: Found, result: SearchResult): Text[] {
  const { breakdown, seconds } = best.time;
  const shares = STEP_TERMS.map((term) => ({ term, share: breakdown[term] / seconds }))
    .filter(({ share }) => share > 0.005)
    .sort((a, b) => b.share - a.share);
  const list = (lang: "en" | "zh") =>
    shares
      .slice(0, 6)
      .map(({ term, share }) => `${TERM_NAMES[term][lang]} ${(100 * share).toFixed(1)} %`)
      .join(lang === "en" ? ", " : "、");
  const name = layoutName(best.layout, best.training.microBatch);
  const free = formatBytes(best.free);
  const memory = result.rejected.filter(
    (r) => r.constraint === "memory" || r.constraint === "hostMemory",
  ).length;
  const again = recomputeText(best.layout.recompute);
  const lines: Text[] = [
    {
      en: `${name} on ${worldOf(best.layout)} devices: ${formatSeconds(seconds)} a step, ${free} free on the fullest device.`,
      zh: `${name}，共 ${worldOf(best.layout)} 個加速器：每步 ${formatSeconds(seconds)}，最滿的加速器尚餘 ${free}。`,
    },
    ...(again ? [{ en: `${again.en}.`, zh: `${again.zh}。` }] : []),
    { en: `The step goes to ${list("en")}.`, zh: `一步的時間：${list("zh")}。` },
    whereBytesGo(best.memory),
    {
      en: `${result.considered} legal layouts: ${memory} do not fit, ${result.simulated} were simulated${
        result.leftBound >= seconds
          ? "; none left out can be faster"
          : `; those left out need at least ${formatSeconds(result.leftBound)}`
      }.`,
      zh: `合法佈局 ${result.considered} 個：${memory} 個放不下，模擬了 ${result.simulated} 個${
        result.leftBound >= seconds ? "；其餘不可能更快" : `；其餘至少需要 ${formatSeconds(result.leftBound)}`
      }。`,
    },
  ];
  const second = result.found[1];
  if (second) {
    const why = whySlower(second, best);
    const other = layoutName(second.layout, second.training.microBatch);
    lines.push({ en: `Next best, ${other}: ${why.en}.`, zh: `次佳 ${other}：${why.zh}。` });
  }
  return lines;
}

export type RejectedGroup = {
  readonly constraint: ConstraintName;
  readonly count: number;
  /** The one that missed by least; an example where a rule is broken. */
  readonly closest: { readonly layout: Layout; readonly microBatch: number; readonly amount?: number };
  readonly text: Text;
};
/** One layout that lost: by which constraint and by how much. */
export type RejectedRow = {
  readonly name: string;
  readonly constraint: ConstraintName;
  /** Bytes short for memory; seconds of a step for slower; absent where a rule is broken. */
  readonly amount?: number;
  readonly text: Text;
};

/** What the search knows of a layout that lost: a bound. */
export function rejectedRow({ layout, microBatch, constraint, amount }: Rejected): RejectedRow {
  const by = constraint === "slower" ? formatSeconds(amount) : formatBytes(amount);
  const name = CONSTRAINT_NAMES[constraint];
  return {
    name: layoutName(layout, microBatch),
    constraint,
    amount,
    text:
      constraint === "slower"
        ? { en: `${name.en}: at least ${by} a step`, zh: `${name.zh}：每步至少 ${by}` }
        : { en: `${name.en}: short by at least ${by}`, zh: `${name.zh}：至少還差 ${by}` },
  };
}

/** What is known to lack little stands before what only might. */
const closer = (a: Rejected, b: Rejected): boolean =>
  (a.exact ?? false) === (b.exact ?? false) ? a.amount < b.amount : a.exact === true;

/** Rejected layouts by binding constraint, with the nearest miss of each. */
export function groupRejected(result: SearchResult): RejectedGroup[] {
  const groups = new Map<ConstraintName, { count: number; closest: Rejected }>();
  for (const r of result.rejected) {
    const group = groups.get(r.constraint);
    if (!group) groups.set(r.constraint, { count: 1, closest: r });
    else {
      group.count++;
      if (closer(r, group.closest)) group.closest = r;
    }
  }
  const lost = [...groups].map(([constraint, { count, closest }]): RejectedGroup => {
    const name = layoutName(closest.layout, closest.microBatch);
    const slower = constraint === "slower";
    const amount = slower ? formatSeconds(closest.amount) : formatBytes(closest.amount);
    const [en, zh] = closest.exact ? ["", ""] : ["at least ", "至少"];
    return {
      constraint,
      count,
      closest: { layout: closest.layout, microBatch: closest.microBatch, amount: closest.amount },
      text: {
        en: `${count} x ${CONSTRAINT_NAMES[constraint].en}; closest ${name}, ${slower ? `at least ${amount}` : `short by ${en}${amount}`}`,
        zh: `${count} 個：${CONSTRAINT_NAMES[constraint].zh}；最接近的是 ${name}，${slower ? `至少 ${amount}` : `${zh}還差 ${amount}`}`,
      },
    };
  });
  const broken = [...result.illegal].map(([constraint, { count, example, detail }]): RejectedGroup => {
    const name = CONSTRAINT_NAMES[constraint];
    return {
      constraint,
      count,
      closest: { layout: example.layout, microBatch: example.microBatch },
      text: {
        en: `${count} x ${name.en}; such as ${layoutName(example.layout, example.microBatch)}: ${detail.en}`,
        zh: `${count} 個：${name.zh}；例如 ${layoutName(example.layout, example.microBatch)}：${detail.zh}`,
      },
    };
  });
  return [...lost, ...broken];
}
