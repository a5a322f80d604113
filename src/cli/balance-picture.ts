import { paint } from "./context.ts";
import { width } from "./table.ts";

export type PictureWords = {
  readonly title: string;
  readonly before: string;
  readonly after: string;
  readonly mean: string;
  /** How to read the strips. */
  readonly legend: string;
};

const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
const SHADES = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
const BAR = 28;

/**
 * Load of each rank before and after, over its fair part (speed counted): bars for up to 16 ranks, a strip of one character a rank above
 * that, where ▄ is the mean and █ twice the mean or more.
 */
export function balancePicture(
  before: Float64Array,
  after: Float64Array,
  speed: Float64Array,
  words: PictureWords,
): string {
  const relative = (loads: Float64Array) => {
    const all = loads.reduce((sum, w) => sum + w, 0);
    const speedSum = speed.reduce((sum, v) => sum + v, 0);
    return Array.from(loads, (w, r) => (all > 0 ? (w / (speed[r] as number)) * (speedSum / all) : 1));
  };
  const [a, b] = [relative(before), relative(after)];
  return [words.title, ...(a.length <= 16 ? bars(a, b, words) : strips(a, b, words))].join("\n");
}

function bars(before: readonly number[], after: readonly number[], words: PictureWords): string[] {
  const most = Math.max(1, ...before, ...after);
  const left = Math.max(width(words.before) + 6, BAR + 6);
  const head = `     ${words.before}${" ".repeat(Math.max(1, left - width(words.before)))}  ${words.after}`;
  const lines = before.map((value, r) => {
    const one = bar(value, most);
    const two = bar(after[r] as number, most);
    return `${String(r).padStart(4)} ${colour(value, one)}${" ".repeat(BAR - width(one))} ${value.toFixed(2)}   ${colour(after[r] as number, two)}${" ".repeat(BAR - width(two))} ${(after[r] as number).toFixed(2)}`;
  });
  return [head, ...lines];
}

function bar(value: number, most: number): string {
  const eighths = Math.round((value / most) * BAR * 8);
  return "█".repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] as string);
}

function strips(before: readonly number[], after: readonly number[], words: PictureWords): string[] {
  const label = Math.max(width(words.before), width(words.after));
  const line = (name: string, values: readonly number[]) => {
    const rows: string[] = [];
    for (let from = 0; from < values.length; from += 64) {
      const cells = values
        .slice(from, from + 64)
        .map((value) => colour(value, SHADES[Math.min(8, Math.round(value * 4))] as string))
        .join("");
      const head = from === 0 ? name + " ".repeat(label - width(name)) : " ".repeat(label);
      rows.push(`  ${head} │${cells}│`);
    }
    const worst = Math.max(...values);
    rows[0] = `${rows[0]} max/${words.mean} ${worst.toFixed(3)}`;
    return rows;
  };
  return [...line(words.before, before), ...line(words.after, after), `  ${words.legend}`];
}

/** Most lines and columns of a load map. */
const MAP = { layers: 24, experts: 64 };

/**
 * Loads of experts over their layer's mean, a line a layer and a character an expert: ▄ the mean, █ twice the mean or more. Where there
 * are more than fit, every so manieth layer is shown, and the most loaded of neighbouring experts.
 */
export function loadMap(loads: ReadonlyMap<number, readonly number[]>): string[] {
  const layers = [...loads].sort(([a], [b]) => a - b);
  const stride = Math.ceil(layers.length / MAP.layers);
  return layers
    .filter((_, i) => i % stride === 0)
    .map(([layer, counts]) => {
      const mean = counts.reduce((sum, n) => sum + n, 0) / Math.max(1, counts.length);
      const per = Math.ceil(counts.length / MAP.experts);
      const cells = Array.from({ length: Math.ceil(counts.length / per) }, (_, i) => {
        const most = Math.max(...counts.slice(i * per, (i + 1) * per)) / Math.max(mean, 1e-300);
        return colour(
          most,
          most === 0 ? "·" : (SHADES[Math.min(8, Math.max(1, Math.round(most * 4)))] as string),
        );
      });
      return `${String(layer).padStart(8)} │${cells.join("")}│`;
    });
}

/** Red above 1.25 of the fair part, yellow above 1.05. */
function colour(value: number, text: string): string {
  return value > 1.25 ? paint("red", text) : value > 1.05 ? paint("yellow", text) : paint("green", text);
}
