import { useEffect, useRef } from "preact/hooks";
import { formatBytes, formatSeconds, type Lang, say, type Text } from "../../../src/base/index.ts";
import {
  CATEGORIES,
  type Category,
  type MemoryReport,
  type PlannedTime,
  STEP_TERMS,
  TERM_NAMES,
} from "../../../src/layout/index.ts";
import type { Bar } from "./protocol.ts";
import { word } from "./words.ts";

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

/** One column a pipeline rank, stacked by category, with the device's edge. */
export function Puzzle({
  memory,
  capacity,
  lang,
}: {
  memory: MemoryReport;
  capacity: readonly number[];
  lang: Lang;
}) {
  const shown = byStage(memory);
  const top = Math.max(...capacity, ...shown.map((c) => c.memory.reserved + c.memory.framework)) * 1.04;
  const width = 920;
  const height = 250;
  const left = 56;
  const slot = (width - left) / shown.length;
  const y = (bytes: number) => height - (bytes / top) * (height - 12);
  const ticks = [0.25, 0.5, 0.75, 1].map((share) => share * top);
  return (
    <>
      <svg
        viewBox={`0 0 ${width} ${height + 20}`}
        role="img"
        aria-label={word("puzzleSub", lang)}
        style={{ width: "100%" }}
      >
        {ticks.map((bytes) => (
          <g key={bytes}>
            <line x1={left} x2={width} y1={y(bytes)} y2={y(bytes)} stroke="var(--line)" />
            <text x={left - 6} y={y(bytes) + 4} text-anchor="end">
              {formatBytes(bytes)}
            </text>
          </g>
        ))}
        {shown.map((c, i) => {
          const x = left + i * slot + slot * 0.1;
          const w = slot * 0.8;
          let used = 0;
          const room = capacity[c.ppRank] as number;
          const blocks = [
            ...CATEGORIES.map((name) => ({
              name: say(CATEGORY_NAMES[name], lang),
              bytes: c.memory.bytes[name],
              fill: `var(--${name})`,
            })),
            { name: word("fragmentation", lang), bytes: c.memory.fragmentation, fill: "var(--other)" },
            { name: word("framework", lang), bytes: c.memory.framework, fill: "var(--dim)" },
          ];
          return (
            <g key={c.ppRank}>
              {blocks.map(({ name, bytes, fill }) => {
                const from = used;
                used += bytes;
                return bytes > 0 ? (
                  <rect
                    key={name}
                    x={x}
                    width={w}
                    y={y(used)}
                    height={Math.max(0, y(from) - y(used) - 0.6)}
                    fill={fill}
                    rx={1.5}
                  >
                    <title>{`PP${c.ppRank} · ${c.count} ranks\n${name}: ${formatBytes(bytes)}`}</title>
                  </rect>
                ) : null;
              })}
              <line
                x1={x - 2}
                x2={x + w + 2}
                y1={y(room)}
                y2={y(room)}
                stroke="var(--loss)"
                stroke-width={1.6}
              />
              {shown.length <= 32 || i % 4 === 0 ? (
                <text x={x + w / 2} y={height + 15} text-anchor="middle">
                  {c.ppRank}
                </text>
              ) : null}
            </g>
          );
        })}
      </svg>
      <div class="legend">
        {CATEGORIES.filter((name) => memory.classes.some((c) => c.memory.bytes[name] > 0)).map((name) => (
          <span key={name}>
            <i style={{ background: `var(--${name})` }} />
            {say(CATEGORY_NAMES[name], lang)}
          </span>
        ))}
        <span>
          <i style={{ background: "var(--other)" }} />
          {word("fragmentation", lang)}
        </span>
        <span>
          <i style={{ background: "var(--loss)", height: "3px" }} />
          {lang === "zh" ? "容量" : "device"}
        </span>
      </div>
    </>
  );
}

/** The fullest class of every pipeline rank. */
function byStage(memory: MemoryReport) {
  const out = new Map<number, MemoryReport["classes"][number]>();
  for (const c of memory.classes) {
    const known = out.get(c.ppRank);
    if (!known || c.memory.reserved > known.memory.reserved) out.set(c.ppRank, c);
  }
  return [...out.values()];
}

const COMM = new Set(["tensor", "context", "expert", "pipeline", "data"]);
const WAIT = new Set(["bubble", "host"]);

export function Split({ time, lang }: { time: PlannedTime; lang: Lang }) {
  const terms = STEP_TERMS.map((term) => ({ term, seconds: time.breakdown[term] }))
    .filter(({ seconds }) => seconds > 0.001 * time.seconds)
    .sort((a, b) => b.seconds - a.seconds);
  const most = terms[0]?.seconds ?? 1;
  return (
    <div class="terms">
      {terms.map(({ term, seconds }) => (
        <>
          <span>{say(TERM_NAMES[term], lang)}</span>
          <span>
            <div
              class={`bar ${COMM.has(term) ? "comm" : WAIT.has(term) ? "wait" : ""}`}
              style={{ width: `${(100 * seconds) / most}%` }}
            />
          </span>
          <span class="dim">{`${formatSeconds(seconds)} · ${((100 * seconds) / time.seconds).toFixed(1)} %`}</span>
        </>
      ))}
    </div>
  );
}

/** Passes of every pipeline rank over time, on a canvas: thousands of rectangles redraw within a frame. */
export function Timeline({ bars, ranks }: { bars: readonly Bar[]; ranks: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const element = canvas.current;
    const ctx = element?.getContext("2d");
    if (!element || !ctx) return;
    const scale = window.devicePixelRatio || 1;
    const width = element.clientWidth;
    const row = Math.max(7, Math.min(22, 260 / ranks));
    const height = row * ranks;
    element.width = width * scale;
    element.height = height * scale;
    element.style.height = `${height}px`;
    ctx.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    ctx.fillStyle = style.getPropertyValue("--line");
    ctx.fillRect(0, 0, width, height);
    const last = bars.reduce((most, bar) => Math.max(most, bar[2]), 0);
    const forward = ["#3b6fd4", "#6f9bea", "#27519f", "#93b5f2"];
    const backward = ["#3f9d5b", "#74c08b", "#2b7343", "#a3d9b3"];
    for (const [rank, start, end, kind, chunk] of bars) {
      ctx.fillStyle = kind === 2 ? "#8a8f99" : ((kind === 0 ? forward : backward)[chunk % 4] as string);
      const x = (start / last) * width;
      ctx.fillRect(x, rank * row + 1, Math.max(0.6, ((end - start) / last) * width - 0.5), row - 2);
    }
  }, [bars, ranks]);
  return <canvas ref={canvas} role="img" aria-label="pipeline timeline" />;
}
