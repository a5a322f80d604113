/** Line chart as SVG text, drawn the same when the report is written and when the page is resized or the axis switched. */
import { linearScale, logScale, type Scale, shortNumber } from "./scale.ts";

/** `[x, min, max, last, values that are no number]`. */
export type ChartPoint = readonly [number, number | null, number | null, number | null, number];
type ChartLine = { readonly points: readonly ChartPoint[]; readonly dashed: boolean };
export type ChartInput = {
  readonly lines: readonly ChartLine[];
  readonly lost: readonly (readonly [number, number])[];
  readonly marks: readonly { readonly step: number; readonly kind: "fault" | "checkpoint" }[];
  /** A level line, e.g. a bound. */
  readonly level: number | null;
  readonly log: boolean;
};
export type ChartFrame = {
  readonly x: Scale;
  readonly y: Scale;
  readonly left: number;
  readonly right: number;
};

const CHART_HEIGHT = 190;
const CHART_TOP = 16;
const CHART_BOTTOM = 22;
const CHART_LEFT = 50;
const CHART_RIGHT = 10;

/** Axes of a chart of the given width; a logarithmic one needs positive data and falls back to a linear one without. */
export function chartFrame(input: ChartInput, width: number): ChartFrame {
  let fromX = Number.POSITIVE_INFINITY;
  let toX = Number.NEGATIVE_INFINITY;
  const values: number[] = input.level === null ? [] : [input.level];
  for (const { points } of input.lines) {
    for (const [x, min, max] of points) {
      fromX = Math.min(fromX, x);
      toX = Math.max(toX, x);
      for (const value of [min, max]) if (value !== null && Number.isFinite(value)) values.push(value);
    }
  }
  for (const [, value] of input.lost) if (Number.isFinite(value)) values.push(value);
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  const positive = input.log && values.some((value) => value > 0);
  for (const value of values) {
    if (positive && value <= 0) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) [low, high] = [0, 1];
  if (fromX > toX) [fromX, toX] = [0, 1];
  const left = CHART_LEFT;
  const right = width - CHART_RIGHT;
  const span = toX > fromX ? toX - fromX : 1;
  const plain = linearScale(fromX, fromX + span, left, right, Math.max(2, Math.floor(width / 90)));
  const x: Scale = {
    ...plain,
    ticks: plain.ticks.filter((tick) => tick >= fromX && tick <= toX && Number.isInteger(tick)),
    from: fromX,
    to: toX,
    at: (value) => left + ((value - fromX) / span) * (right - left),
  };
  const bottom = CHART_HEIGHT - CHART_BOTTOM;
  const y = (positive ? logScale : linearScale)(low, high, bottom, CHART_TOP, 4);
  return { x, y, left, right };
}

export function chartSvg(input: ChartInput, width: number): string {
  const frame = chartFrame(input, width);
  const { x, y, left, right } = frame;
  const bottom = CHART_HEIGHT - CHART_BOTTOM;
  const parts: string[] = [];
  for (const tick of y.ticks) {
    const at = y.at(tick).toFixed(1);
    parts.push(
      `<line class="grid" x1="${left}" x2="${right}" y1="${at}" y2="${at}"/>`,
      `<text class="tick" x="${left - 6}" y="${at}" dy="0.32em" text-anchor="end">${shortNumber(tick)}</text>`,
    );
  }
  for (const tick of x.ticks) {
    parts.push(
      `<text class="tick" x="${x.at(tick).toFixed(1)}" y="${CHART_HEIGHT - 6}" text-anchor="middle">${shortNumber(tick)}</text>`,
    );
  }
  parts.push(`<line class="axis" x1="${left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>`);
  for (const mark of input.marks) {
    const at = x.at(mark.step).toFixed(1);
    parts.push(
      mark.kind === "fault"
        ? `<g class="fault"><line x1="${at}" x2="${at}" y1="${CHART_TOP - 4}" y2="${bottom}"/><path d="M${at} ${CHART_TOP - 4}m-5-8h10l-5 8z"/></g>`
        : `<line class="save" x1="${at}" x2="${at}" y1="${bottom}" y2="${bottom - 5}"/>`,
    );
  }
  if (input.level !== null) {
    const at = y.at(input.level).toFixed(1);
    parts.push(`<line class="level" x1="${left}" x2="${right}" y1="${at}" y2="${at}"/>`);
  }
  for (const [i, line] of input.lines.entries()) {
    const name = `line line-${i}${line.dashed ? " dashed" : ""}`;
    for (const run of unbroken(line.points)) {
      const up = run.map(([at, , max]) => `${x.at(at).toFixed(1)} ${y.at(max as number).toFixed(1)}`);
      const down = run
        .map(([at, min]) => `${x.at(at).toFixed(1)} ${y.at(min as number).toFixed(1)}`)
        .reverse();
      const last = run.map(([at, , , value]) => `${x.at(at).toFixed(1)} ${y.at(value as number).toFixed(1)}`);
      parts.push(`<path class="band band-${i}" d="M${[...up, ...down].join("L")}Z"/>`);
      parts.push(
        last.length === 1
          ? `<circle class="${name} dot" cx="${last[0]?.split(" ")[0]}" cy="${last[0]?.split(" ")[1]}" r="2"/>`
          : `<path class="${name}" d="M${last.join("L")}"/>`,
      );
    }
    for (const [at, , , , nan] of line.points) {
      if (nan > 0) {
        const px = x.at(at).toFixed(1);
        parts.push(`<path class="nan" d="M${px} ${bottom}m-4-8l8 8m0-8l-8 8"/>`);
      }
    }
  }
  for (const [step, value] of input.lost) {
    if (!Number.isFinite(value)) continue;
    parts.push(`<circle class="lost" cx="${x.at(step).toFixed(1)}" cy="${y.at(value).toFixed(1)}" r="1.7"/>`);
  }
  parts.push(
    `<line class="cursor" x1="0" x2="0" y1="${CHART_TOP}" y2="${bottom}" visibility="hidden"/><circle class="cursor-dot" r="3.5" visibility="hidden"/>`,
  );
  return `<svg viewBox="0 0 ${width} ${CHART_HEIGHT}" width="${width}" height="${CHART_HEIGHT}" aria-hidden="true">${parts.join("")}</svg>`;
}

/** Runs of points that hold a finite last value; where a value is no number the line is broken, not bridged. */
function unbroken(points: readonly ChartPoint[]): ChartPoint[][] {
  const runs: ChartPoint[][] = [];
  let open: ChartPoint[] = [];
  for (const point of points) {
    const whole = [point[1], point[2], point[3]].every((value) => value !== null && Number.isFinite(value));
    if (whole) open.push(point);
    else if (open.length > 0) {
      runs.push(open);
      open = [];
    }
  }
  if (open.length > 0) runs.push(open);
  return runs;
}

/** Index of the point nearest to a step. */
export function nearestPoint(points: readonly ChartPoint[], step: number): number {
  let best = 0;
  for (const [i, point] of points.entries()) {
    if (Math.abs(point[0] - step) <= Math.abs((points[best] as ChartPoint)[0] - step)) best = i;
  }
  return best;
}
