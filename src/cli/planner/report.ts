import { formatBytes, formatCount, formatSeconds, type Lang, say } from "../../base/index.ts";
import type { Cluster } from "../../cluster/index.ts";
import {
  CATEGORIES,
  CATEGORY_NAMES,
  type FallbackPlan,
  type Layout,
  type MemoryReport,
  type Plan,
  type PlannedTime,
  recomputeText,
  stageHomes,
  type StepTime,
  type WhatIf,
  type WhyNot,
  whatIfText,
} from "../../layout/index.ts";
import { paint } from "../context.ts";
import { table } from "../table.ts";
import { puzzle, split, timeline } from "./draw.ts";

const pick = (lang: Lang, en: string, zh: string) => (lang === "zh" ? zh : en);
const heading = (text: string) => `\n${paint("bold", text)}`;

/** MFU in each convention, with what it divides. */
export function mfuTable(time: PlannedTime, lang: Lang): string {
  const { mfu } = time;
  const pct = (x: number) => `${(100 * x).toFixed(2)} %`;
  const t = (x: number) => `${(x / 1e12).toFixed(0)} TFLOP/s`;
  const rows: [string, string, string][] = [
    [
      pick(lang, "model FLOPs (default)", "模型 FLOPs（預設）"),
      pct(mfu.model),
      `${formatCount(mfu.flopsPerToken)} FLOP/token${pick(lang, ", visible pairs, no recompute; peak", "，可見配對、不計重算；峰值")} ${t(mfu.peakFlops)} bf16`,
    ],
    [
      pick(lang, "full attention", "全注意力"),
      pct(mfu.fullAttention),
      `${formatCount(mfu.fullFlopsPerToken)} FLOP/token${pick(lang, ", every pair counted", "，計入全部配對")}`,
    ],
    [
      pick(lang, "6 x active parameters", "6 x 活躍參數"),
      pct(mfu.parametersOnly),
      pick(lang, "no attention", "不計注意力"),
    ],
    [
      pick(lang, "with recompute (HFU)", "計入重算（HFU）"),
      pct(mfu.withRecompute),
      pick(lang, "work done twice counts twice", "做兩次算兩次"),
    ],
    [
      pick(lang, "peak of the format run", "以實際格式峰值計"),
      pct(mfu.formatPeak),
      pick(lang, "fp8/fp4 peak where used", "使用 fp8/fp4 時以其峰值"),
    ],
  ];
  return table(
    [{ title: "MFU" }, { title: "%", align: "right" }, { title: pick(lang, "formula", "公式") }],
    rows,
  );
}

export function memoryTable(memory: MemoryReport, lang: Lang): string {
  const many = memory.classes.length > 12;
  const shown = many ? [...memory.classes.slice(0, 6), ...memory.classes.slice(-6)] : memory.classes;
  const used = CATEGORIES.filter((category) => shown.some((c) => c.memory.bytes[category] > 0));
  return table(
    [
      { title: "PP" },
      { title: pick(lang, "ranks", "進程"), align: "right" },
      ...used.map((category) => ({ title: say(CATEGORY_NAMES[category], lang), align: "right" as const })),
      { title: pick(lang, "reserved", "保留"), align: "right" },
      { title: pick(lang, "host", "主機"), align: "right" },
    ],
    shown.flatMap((c, i) => [
      ...(many && i === 6 ? [["…"]] : []),
      [
        String(c.ppRank),
        String(c.count),
        ...used.map((category) => formatBytes(c.memory.bytes[category])),
        formatBytes(c.memory.reserved + c.memory.framework),
        formatBytes(c.memory.host),
      ],
    ]),
  );
}

/** What the recorded loads make of the fullest device and of the slowest expert rank. */
function routedLines({ routed }: Plan, capacity: number, lang: Lang): string[] {
  if (!routed) return [];
  const { bytes, slowest } = routed;
  const room = formatBytes(capacity);
  return [
    pick(
      lang,
      `with the recorded loads the fullest device needs ${formatBytes(bytes.p50)} at the median and ${formatBytes(bytes.p99)} at the 99th percentile of expert ranks, of ${room}; the slowest expert rank takes ${slowest.toFixed(2)} of the mean`,
      `依記錄的負載，最滿的加速器在專家進程中位數需 ${formatBytes(bytes.p50)}，第 99 百分位需 ${formatBytes(bytes.p99)}（共 ${room}）；最慢的專家進程負載為平均值的 ${slowest.toFixed(2)} 倍`,
    ),
  ];
}

export type PlanView = {
  readonly plan: Plan;
  readonly cluster: Cluster;
  readonly step: StepTime;
  readonly fallbacks: readonly FallbackPlan[];
  /** Plans were asked for up to this many lost nodes. */
  readonly lostAsked: number;
  readonly whatIfs: readonly WhatIf[];
};

/** What the short forms of recomputation in the names stand for, each once. */
const legend = (named: readonly { readonly layout: Layout }[], lang: Lang): string[] => [
  ...new Set(
    named.flatMap(({ layout }) => {
      const text = recomputeText(layout.recompute);
      return text ? [`  ${say(text, lang)}`] : [];
    }),
  ),
];

/** The whole answer for a person. */
export function planText(
  { plan, cluster, step, fallbacks, lostAsked, whatIfs }: PlanView,
  lang: Lang,
): string {
  const p = (en: string, zh: string) => pick(lang, en, zh);
  const { time, layout } = plan;
  const capacity = stageHomes(cluster, layout).map((home) => home.device.memoryBytes);
  const out: string[] = [
    paint("bold", `${plan.model.name}  ${formatCount(plan.model.parameters)}  →  ${plan.cluster.name}`),
    `${paint(["bold", "green"], plan.name)}   ${formatSeconds(time.seconds)}/${p("step", "步")}   ${formatCount(time.tokensPerSecond)} tokens/s   MFU ${(100 * time.mfu.model).toFixed(1)} %`,
    heading(p("Why", "為什麼")),
    ...plan.why.map((line) => `  ${say(line, lang)}`),
    heading(p("The puzzle: memory of each rank", "拼圖：每個進程的記憶體")),
    puzzle(plan.memory, capacity, lang),
    "",
    memoryTable(plan.memory, lang),
    ...routedLines(plan, Math.min(...capacity), lang),
  ];
  const picture = timeline(layout, step);
  if (picture) {
    out.push(
      heading(
        p(
          "Stages over time (digits forward, letters backward, w weight gradients)",
          "各階段時間線（數字前向、字母反向、w 權重梯度）",
        ),
      ),
      picture,
    );
  }
  out.push(heading(p("Where the step goes", "一步的時間去向")), split(time, lang), "", mfuTable(time, lang));
  if (plan.alternatives.length > 0) {
    out.push(
      heading(p("Next best", "其他佈局")),
      table(
        [
          { title: p("layout", "佈局") },
          { title: p("step", "步"), align: "right" },
          { title: p("free", "空閒"), align: "right" },
          { title: p("why slower", "慢在哪裡") },
        ],
        plan.alternatives.map((a) => [
          a.name,
          formatSeconds(a.seconds),
          formatBytes(a.free),
          say(a.why, lang),
        ]),
      ),
      ...legend([plan, ...plan.alternatives], lang),
    );
  }
  if (plan.rejected.length > 0) {
    out.push(heading(p("Left out", "排除")), ...plan.rejected.map((group) => `  ${say(group.text, lang)}`));
  }
  if (whatIfs.length > 0) {
    out.push(
      heading(p("With a little more", "若再多一點")),
      ...whatIfs.map((what) => `  ${say(whatIfText(what), lang)}`),
    );
  }
  const hopeless = Array.from({ length: lostAsked }, (_, i) => i + 1).filter(
    (lost) => !fallbacks.some(({ lostNodes }) => lostNodes === lost),
  );
  if (fallbacks.length > 0) {
    out.push(
      heading(p("When nodes are lost", "節點丟失時")),
      table(
        [
          { title: p("lost", "丟失"), align: "right" },
          { title: p("devices", "加速器"), align: "right" },
          { title: p("layout", "佈局") },
          { title: p("empty", "空序列"), align: "right" },
          { title: p("step", "步"), align: "right" },
          { title: p("speed", "速度"), align: "right" },
          { title: p("moved", "移動"), align: "right" },
          { title: p("from checkpoint", "取自檢查點"), align: "right" },
          { title: p("takes", "耗時"), align: "right" },
          { title: p("back", "恢復"), align: "right" },
        ],
        fallbacks.map((f) => [
          String(f.lostNodes),
          `${f.world}/${f.devices}`,
          f.name,
          String(f.emptySequences),
          formatSeconds(f.seconds),
          `${(100 * f.speed).toFixed(0)} %`,
          formatBytes(f.shrink.movedBytes),
          formatBytes(f.shrink.restoredBytes),
          formatSeconds(f.shrink.seconds),
          formatSeconds(f.grow.seconds),
        ]),
      ),
    );
  }
  if (hopeless.length > 0) {
    const list = hopeless.join(", ");
    out.push(
      p(
        `  with ${list} nodes lost, nothing fits on what is left`,
        `  失去 ${list} 個節點時，剩餘的加速器放不下任何佈局`,
      ),
    );
  }
  return out.join("\n");
}

/** Layouts that lost, with what bound each; the first of many. */
export function rejectedText({ rows, total }: WhyNot, lang: Lang): string {
  const left = total - rows.length;
  return [
    heading(pick(lang, "Why not", "為什麼不是")),
    rows.length === 0
      ? pick(
          lang,
          "  no layout holds these words; write degrees as the tables do, such as PP8 EP64 swap",
          "  沒有佈局含有這些詞；請依表格的寫法，例如 PP8 EP64 swap",
        )
      : table(
          [{ title: pick(lang, "layout", "佈局") }, { title: pick(lang, "bound by", "受限於") }],
          rows.map(({ name, text }) => [name, say(text, lang)]),
        ),
    ...(left > 0 ? [pick(lang, `  … ${left} more`, `  … 另有 ${left} 個`)] : []),
  ].join("\n");
}
