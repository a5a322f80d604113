import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { formatBytes, formatSeconds, type Lang, say } from "../../../src/base/index.ts";
import {
  CATEGORIES,
  CATEGORY_NAMES,
  type MemoryReport,
  type PlannedTime,
  type RankClass,
  STEP_TERMS,
  type StepTerm,
  TERM_NAMES,
} from "../../../src/layout/index.ts";
import type { Bar, View } from "./protocol.ts";
import { word } from "./words.ts";

/** Width of an element in pixels: pictures are drawn at their real size, so that text stays readable on a phone. */
function useWidth(start: number) {
  const element = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(start);
  useEffect(() => {
    const target = element.current;
    if (!target) return;
    const watch = new ResizeObserver(([entry]) => setWidth(Math.max(240, entry?.contentRect.width ?? start)));
    watch.observe(target);
    return () => watch.disconnect();
  }, []);
  return { element, width };
}

type Piece = { readonly key: string; readonly name: string; readonly bytes: number; readonly fill: string };

const piecesOf = (c: RankClass, lang: Lang): Piece[] =>
  [
    ...CATEGORIES.map((key) => ({
      key: key as string,
      name: say(CATEGORY_NAMES[key], lang),
      bytes: c.memory.bytes[key],
      fill: `var(--${key})`,
    })),
    {
      key: "fragmentation",
      name: word("fragmentation", lang),
      bytes: c.memory.fragmentation,
      fill: "var(--other)",
    },
    { key: "framework", name: word("framework", lang), bytes: c.memory.framework, fill: "var(--framework)" },
  ].filter(({ bytes }) => bytes > 0);

/** The fullest class of every pipeline rank. */
function byStage(memory: MemoryReport): RankClass[] {
  const out = new Map<number, RankClass>();
  for (const c of memory.classes) {
    const known = out.get(c.ppRank);
    if (!known || c.memory.reserved > known.memory.reserved) out.set(c.ppRank, c);
  }
  return [...out.values()];
}

const usedBy = (c: RankClass): number => c.memory.reserved + c.memory.framework;
const GiB = 1024 ** 3;
/** Round numbers of GiB for the axis: at most five of them. */
function ticksOf(top: number): number[] {
  const steps = [1, 2, 5, 10, 20, 25, 50, 100, 200, 500].map((gib) => gib * GiB);
  const step = steps.find((size) => top / size <= 5) ?? top / 4;
  return Array.from({ length: Math.floor(top / step) }, (_, i) => (i + 1) * step);
}

/** One column a pipeline rank, stacked by category, with the device's edge; the one pointed at is read out below. */
export function Puzzle({ view, lang }: { view: View; lang: Lang }) {
  const { memory, capacity, devices } = view;
  const { element, width } = useWidth(720);
  const [at, setAt] = useState<number | undefined>(undefined);
  const shown = byStage(memory);
  const top = Math.max(...capacity, ...shown.map(usedBy)) * 1.05;
  const height = 250;
  const left = 52;
  const slot = (width - left) / shown.length;
  const y = (bytes: number) => height - (bytes / top) * (height - 12);
  const every = Math.ceil(shown.length / Math.max(1, Math.floor((width - left) / 26)));
  const fullest = shown.reduce((most, c, i) => (usedBy(c) > usedBy(shown[most] as RankClass) ? i : most), 0);
  const read = shown[Math.min(at ?? fullest, shown.length - 1)] as RankClass;
  const last = read.first + read.count - 1;
  return (
    <div ref={element}>
      <svg
        width={width}
        height={height + 20}
        role="img"
        aria-label={word("puzzleSub", lang)}
        onPointerLeave={() => setAt(undefined)}
      >
        {ticksOf(top).map((bytes) => (
          <g key={bytes}>
            <line x1={left} x2={width} y1={y(bytes)} y2={y(bytes)} stroke="var(--line)" />
            <text x={left - 6} y={y(bytes) + 4} text-anchor="end">
              {`${Math.round(bytes / GiB)} GiB`}
            </text>
          </g>
        ))}
        {shown.map((c, i) => {
          const x = left + i * slot + slot * 0.09;
          const wide = slot * 0.82;
          const room = capacity[c.ppRank] as number;
          let used = 0;
          return (
            <g key={c.ppRank} class={c === read ? "column at" : "column"} onPointerEnter={() => setAt(i)}>
              <rect x={left + i * slot} width={slot} y={0} height={height} fill="transparent" />
              {piecesOf(c, lang).map(({ key, bytes, fill }) => {
                const from = used;
                used += bytes;
                return (
                  <rect
                    key={key}
                    data-piece={key}
                    x={x}
                    width={wide}
                    y={y(used)}
                    height={Math.max(0, y(from) - y(used) - 0.6)}
                    fill={fill}
                    rx={1.5}
                  />
                );
              })}
              <line
                x1={x - slot * 0.06}
                x2={x + wide + slot * 0.06}
                y1={y(room)}
                y2={y(room)}
                stroke={used > room ? "var(--loss)" : "var(--edge)"}
                stroke-width={2}
              />
              {i % every === 0 ? (
                <text x={x + wide / 2} y={height + 15} text-anchor="middle">
                  {c.ppRank}
                </text>
              ) : null}
            </g>
          );
        })}
      </svg>
      <p class="read">
        <b>{`PP${read.ppRank}`}</b>
        {` · ${word("ranks", lang)} ${read.count === 1 ? read.first : `${read.first}–${last}`} · ${
          devices[read.ppRank] ?? ""
        } · `}
        <b>{`${formatBytes(usedBy(read))} / ${formatBytes(capacity[read.ppRank] as number)}`}</b>
      </p>
      <div class="legend">
        {piecesOf(read, lang).map(({ key, name, bytes, fill }) => (
          <span key={key}>
            <i style={{ background: fill }} />
            {`${name} `}
            <span class="value">{formatBytes(bytes)}</span>
          </span>
        ))}
        <span>
          <i class="edge" />
          {word("capacity", lang)}
        </span>
      </div>
    </div>
  );
}

/** The same pieces as numbers: stages by categories, darker where more. */
export function PuzzleTable({ view, lang }: { view: View; lang: Lang }) {
  const shown = byStage(view.memory);
  const used = CATEGORIES.filter((name) => shown.some((c) => c.memory.bytes[name] > 0));
  const most = Math.max(...shown.flatMap((c) => used.map((name) => c.memory.bytes[name])));
  const cell = (bytes: number, key: string) => (
    <td
      key={key}
      class="num"
      style={{
        background: `color-mix(in srgb, var(--accent) ${Math.round((34 * bytes) / most)}%, transparent)`,
      }}
    >
      {bytes === 0 ? "–" : formatBytes(bytes)}
    </td>
  );
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={word("numbers", lang)}>
      <table class="tight">
        <thead>
          <tr>
            <th>{word("rank", lang)}</th>
            <th class="num">{word("ranks", lang)}</th>
            {used.map((name) => (
              <th key={name} class="num">
                {say(CATEGORY_NAMES[name], lang)}
              </th>
            ))}
            <th class="num">{word("total", lang)}</th>
            <th class="num">{word("host", lang)}</th>
          </tr>
        </thead>
        <tbody>
          {shown.map((c) => (
            <tr key={c.ppRank}>
              <td>{`PP${c.ppRank}`}</td>
              <td class="num">{c.count}</td>
              {used.map((name) => cell(c.memory.bytes[name], name))}
              <td class="num">
                <b>{formatBytes(usedBy(c))}</b>
              </td>
              <td class="num">{c.memory.host === 0 ? "–" : formatBytes(c.memory.host)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const COMM: ReadonlySet<StepTerm> = new Set(["tensor", "context", "expert", "pipeline", "data", "swap"]);
const WAIT: ReadonlySet<StepTerm> = new Set(["bubble", "host"]);
type Group = "compute" | "comm" | "wait";
const groupOf = (term: StepTerm): Group => (COMM.has(term) ? "comm" : WAIT.has(term) ? "wait" : "compute");
const GROUPS: readonly Group[] = ["compute", "comm", "wait"];

/** Seconds of a step by term, longest first, under one bar of computing, communication and waiting. */
export function Split({ time, lang }: { time: PlannedTime; lang: Lang }) {
  const terms = STEP_TERMS.map((term) => ({ term, seconds: time.breakdown[term] }))
    .filter(({ seconds }) => seconds > 0.001 * time.seconds)
    .sort((a, b) => b.seconds - a.seconds);
  const most = terms[0]?.seconds ?? 1;
  const share = (seconds: number) => `${((100 * seconds) / time.seconds).toFixed(1)} %`;
  const sums = GROUPS.map((group) => ({
    group,
    seconds: STEP_TERMS.filter((term) => groupOf(term) === group).reduce(
      (sum, term) => sum + time.breakdown[term],
      0,
    ),
  }));
  return (
    <>
      <div class="whole">
        {sums.map(({ group, seconds }) => (
          <div
            key={group}
            class={`bar ${group}`}
            style={{ width: `${(100 * seconds) / time.seconds}%` }}
            title={`${word(group, lang)} ${share(seconds)}`}
          />
        ))}
      </div>
      <div class="legend">
        {sums.map(({ group, seconds }) => (
          <span key={group}>
            <i class={`bar ${group}`} />
            {`${word(group, lang)} `}
            <span class="value">{share(seconds)}</span>
          </span>
        ))}
      </div>
      <div class="terms">
        {terms.map(({ term, seconds }) => (
          <div class="term" key={term}>
            <span>{say(TERM_NAMES[term], lang)}</span>
            <span>
              <div
                class={`bar ${groupOf(term)}`}
                style={{ width: `${Math.max(0.5, (100 * seconds) / most)}%` }}
              />
            </span>
            <span class="num">{formatSeconds(seconds)}</span>
            <span class="num dim">{share(seconds)}</span>
          </div>
        ))}
      </div>
    </>
  );
}

const FORWARD = ["#3b6fd4", "#6f9bea", "#27519f", "#93b5f2"];
const BACKWARD = ["#3f9d5b", "#74c08b", "#2b7343", "#a3d9b3"];
const WEIGHT = "#b08a3e";

/** Passes of every pipeline rank over time, on a canvas: thousands of rectangles redraw within a frame. */
export function Timeline({
  bars,
  ranks,
  lang,
  theme,
}: {
  bars: readonly Bar[];
  ranks: number;
  lang: Lang;
  theme: string;
}) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { element, width } = useWidth(1000);
  const [read, setRead] = useState("");
  const row = Math.max(7, Math.min(24, 260 / ranks));
  const left = 40;
  const last = bars.reduce((most, bar) => Math.max(most, bar[2]), 0);
  const wide = width - left;
  // In the frame that shows the new numbers, not in one after it.
  useLayoutEffect(() => {
    const target = canvas.current;
    const ctx = target?.getContext("2d");
    if (!target || !ctx) return;
    const scale = window.devicePixelRatio || 1;
    const height = row * ranks;
    target.width = width * scale;
    target.height = height * scale;
    ctx.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    ctx.fillStyle = style.getPropertyValue("--dim");
    ctx.font = "11px system-ui, sans-serif";
    ctx.textBaseline = "middle";
    const every = Math.ceil(12 / row);
    for (let rank = 0; rank < ranks; rank += every) ctx.fillText(`PP${rank}`, 0, (rank + 0.5) * row);
    ctx.fillStyle = style.getPropertyValue("--idle");
    for (let rank = 0; rank < ranks; rank++) ctx.fillRect(left, rank * row + 1, wide, row - 2);
    // One colour after another: changing it is what costs time.
    const paint = (colour: string, is: (bar: Bar) => boolean) => {
      ctx.fillStyle = colour;
      for (const bar of bars) {
        if (!is(bar)) continue;
        const [rank, start, end] = bar;
        const size = Math.max(0.6, ((end - start) / last) * wide - 0.5);
        ctx.fillRect(left + (start / last) * wide, rank * row + 1, size, row - 2);
      }
    };
    FORWARD.forEach((colour, chunk) => paint(colour, ([, , , kind, of]) => kind === 0 && of % 4 === chunk));
    BACKWARD.forEach((colour, chunk) => paint(colour, ([, , , kind, of]) => kind === 1 && of % 4 === chunk));
    paint(WEIGHT, ([, , , kind]) => kind === 2);
  }, [bars, ranks, width, theme]);
  const point = (event: PointerEvent) => {
    const rank = Math.floor(event.offsetY / row);
    const time = ((event.offsetX - left) / wide) * last;
    const bar = bars.find(([of, start, end]) => of === rank && start <= time && time < end);
    if (time < 0 || rank >= ranks) return setRead("");
    const what = bar
      ? `${word(bar[3] === 0 ? "forward" : bar[3] === 1 ? "backward" : "weightGradient", lang)} · micro-batch ${
          bar[5]
        } · VPP${bar[4]} · ${formatSeconds(bar[2] - bar[1])}`
      : word("idle", lang);
    setRead(`PP${rank} · ${formatSeconds(Math.max(0, time))} · ${what}`);
  };
  const kinds: [string, string][] = [
    [FORWARD[0] as string, word("forward", lang)],
    [BACKWARD[0] as string, word("backward", lang)],
  ];
  if (bars.some(([, , , kind]) => kind === 2)) kinds.push([WEIGHT, word("weightGradient", lang)]);
  kinds.push(["var(--idle)", word("idle", lang)]);
  return (
    <div ref={element}>
      <canvas
        ref={canvas}
        role="img"
        aria-label={`${word("timeline", lang)}, PP0–PP${ranks - 1}`}
        style={{ height: `${row * ranks}px` }}
        onPointerMove={point}
        onPointerLeave={() => setRead("")}
      />
      <div class="legend">
        {kinds.map(([fill, name]) => (
          <span key={name}>
            <i style={{ background: fill }} />
            {name}
          </span>
        ))}
        <span class="read">{read}</span>
      </div>
    </div>
  );
}
