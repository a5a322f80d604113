/** What moves in the page: language, theme, linked read-outs, log axes, the load map, the answers. Runs in the browser only. */
import { type ChartInput, type ChartPoint, chartFrame, chartSvg, nearestPoint } from "./chart.ts";
import { loadColour } from "./colour.ts";
import type { PageExample } from "./example.ts";
import { shortNumber } from "./scale.ts";

type PageText = { readonly en: string; readonly zh: string };
export type PageData = {
  readonly charts: Readonly<Record<string, ChartInput>>;
  readonly heat: {
    readonly layers: readonly number[];
    readonly experts: number;
    readonly frames: readonly { readonly step: number; readonly counts: readonly number[] }[];
  } | null;
  readonly examples: readonly PageExample[];
  readonly texts: Readonly<Record<string, PageText>>;
};

const data = JSON.parse(document.getElementById("page-data")?.textContent ?? "{}") as PageData;
const root = document.documentElement;
const all = <E extends Element>(selector: string): E[] => [...document.querySelectorAll<E>(selector)];
const one = <E extends Element>(selector: string, from: ParentNode = document): E | null =>
  from.querySelector<E>(selector);
const lang = (): "en" | "zh" => (root.dataset["lang"] === "zh" ? "zh" : "en");

const isDark = (): boolean =>
  root.dataset["theme"] === "dark" ||
  (root.dataset["theme"] === undefined && matchMedia("(prefers-color-scheme: dark)").matches);

function say(key: string, params: Readonly<Record<string, string | number>> = {}): string {
  const text = data.texts[key]?.[lang()] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(params[name] ?? whole));
}

/** Listeners that redraw what holds text or depends on the width. */
const redraws: (() => void)[] = [];
const redraw = () => {
  for (const each of redraws) each();
};

function setLanguage(next: "en" | "zh"): void {
  root.dataset["lang"] = next;
  root.lang = next === "zh" ? "zh-Hant" : "en";
  document.title = root.dataset[next === "zh" ? "titleZh" : "titleEn"] ?? document.title;
  for (const element of all<HTMLElement>("[data-label-en]")) {
    element.setAttribute("aria-label", element.dataset[next === "zh" ? "labelZh" : "labelEn"] ?? "");
  }
  for (const option of all<HTMLOptionElement>("option[data-en]")) {
    option.textContent = option.dataset[next] ?? "";
  }
  redraw();
}

function setUpSwitches(): void {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const theme = wanted.get("theme");
  if (theme === "light" || theme === "dark") root.dataset["theme"] = theme;
  one("#language")?.addEventListener("click", () => setLanguage(lang() === "en" ? "zh" : "en"));
  one("#theme")?.addEventListener("click", () => {
    const dark = isDark();
    root.dataset["theme"] = dark ? "light" : "dark";
    redraw();
  });
  const asked = wanted.get("lang");
  setLanguage(asked === "zh" || asked === "en" ? asked : lang());
}

// ── Charts: one cursor for all of them, by step ──────────────────────────────────────────────────────────────────────────────
let cursorStep: number | null = null;
const chartLog = new Map<string, boolean>();

function setUpCharts(): void {
  const figures = all<HTMLElement>("figure.chart");
  const inputOf = (figure: HTMLElement): ChartInput => {
    const key = figure.dataset["chart"] ?? "";
    const input = data.charts[key] as ChartInput;
    return { ...input, log: chartLog.get(key) ?? input.log };
  };
  const draw = (figure: HTMLElement) => {
    const plot = one<HTMLElement>(".plot", figure);
    if (!plot) return;
    const width = Math.max(240, Math.round(plot.clientWidth));
    plot.innerHTML = chartSvg(inputOf(figure), width);
  };
  const read = (figure: HTMLElement) => {
    const output = one<HTMLElement>(".read", figure);
    const input = inputOf(figure);
    const points = input.lines[0]?.points ?? [];
    const plot = one<HTMLElement>(".plot", figure);
    if (!output || !plot || points.length === 0) return;
    const index = cursorStep === null ? points.length - 1 : nearestPoint(points, cursorStep);
    const [step, min, max, last] = points[index] as ChartPoint;
    const others = input.lines
      .slice(1)
      .flatMap((line) => line.points[nearestPoint(line.points, step)]?.[3] ?? [])
      .map((value) => ` · ${shortNumber(value)}`);
    const spread =
      min !== null && max !== null && min !== max ? ` (${shortNumber(min)} – ${shortNumber(max)})` : "";
    const value = last === null ? say("notANumber") : shortNumber(last);
    output.textContent = `${say("stepAt", { step })}: ${value}${others.join("")}${cursorStep === null ? "" : spread}`;
    const frame = chartFrame(input, Math.max(240, Math.round(plot.clientWidth)));
    const line = one<SVGElement>(".cursor", plot);
    const dot = one<SVGElement>(".cursor-dot", plot);
    const shown = cursorStep === null || last === null ? "hidden" : "visible";
    const at = String(frame.x.at(step));
    line?.setAttribute("x1", at);
    line?.setAttribute("x2", at);
    line?.setAttribute("visibility", shown);
    dot?.setAttribute("cx", at);
    dot?.setAttribute("cy", String(frame.y.at(last ?? 0)));
    dot?.setAttribute("visibility", shown);
  };
  const readAll = () => {
    for (const figure of figures) read(figure);
  };
  for (const figure of figures) {
    const plot = one<HTMLElement>(".plot", figure);
    plot?.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const frame = chartFrame(inputOf(figure), Math.max(240, Math.round(plot.clientWidth)));
      const share = (event.clientX - box.left - frame.left) / (frame.right - frame.left);
      cursorStep = frame.x.from + Math.max(0, Math.min(1, share)) * (frame.x.to - frame.x.from);
      readAll();
    });
    plot?.addEventListener("pointerleave", () => {
      cursorStep = null;
      readAll();
    });
    plot?.addEventListener("keydown", (event) => {
      const points = inputOf(figure).lines[0]?.points ?? [];
      const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -1e9, End: 1e9 }[
        event.key
      ];
      if (move === undefined || points.length === 0) return;
      event.preventDefault();
      const now = cursorStep === null ? points.length - 1 : nearestPoint(points, cursorStep);
      cursorStep = (points[Math.max(0, Math.min(points.length - 1, now + move))] as ChartPoint)[0];
      readAll();
    });
    one<HTMLInputElement>("input[type=checkbox]", figure)?.addEventListener("change", (event) => {
      chartLog.set(figure.dataset["chart"] ?? "", (event.target as HTMLInputElement).checked);
      draw(figure);
      read(figure);
    });
  }
  redraws.push(() => {
    for (const figure of figures) draw(figure);
    readAll();
  });
}

// ── Load map ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────
function setUpHeat(): void {
  const heat = data.heat;
  const canvas = one<HTMLCanvasElement>("#heat canvas");
  const slider = one<HTMLInputElement>("#heat input[type=range]");
  const output = one<HTMLElement>("#heat .read");
  const pen = canvas?.getContext("2d");
  if (!heat || !canvas || !slider || !output || !pen) return;
  const rows = heat.layers.length;
  const columns = heat.experts;
  let chosen: { row: number; column: number } | null = null;
  let cell = { width: 0, height: 0 };
  const frame = () => heat.frames[Number(slider.value)] as { step: number; counts: readonly number[] };
  const meanOf = (row: number) => {
    let sum = 0;
    for (let column = 0; column < columns; column++) sum += frame().counts[row * columns + column] as number;
    return sum / columns;
  };
  const read = () => {
    const text = say("stepAt", { step: frame().step });
    slider.setAttribute("aria-valuetext", text);
    if (!chosen) {
      output.textContent = text;
      return;
    }
    const tokens = frame().counts[chosen.row * columns + chosen.column] as number;
    const mean = meanOf(chosen.row);
    output.textContent = `${text} · ${say("cellRead", {
      layer: heat.layers[chosen.row] as number,
      expert: chosen.column,
      tokens: shortNumber(tokens),
      share: say("times", { value: mean > 0 ? (tokens / mean).toFixed(2) : "0" }),
    })}`;
  };
  const draw = () => {
    const width = Math.max(200, (canvas.parentElement as HTMLElement).clientWidth);
    const height = Math.max(3, Math.min(26, 620 / rows)) * rows;
    const ratio = Math.min(3, devicePixelRatio || 1);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    pen.scale(ratio, ratio);
    cell = { width: width / columns, height: height / rows };
    const gap = cell.width > 6 && cell.height > 6 ? 1 : 0;
    const dark = isDark();
    pen.clearRect(0, 0, width, height);
    for (let row = 0; row < rows; row++) {
      const mean = meanOf(row);
      for (let column = 0; column < columns; column++) {
        const tokens = frame().counts[row * columns + column] as number;
        pen.fillStyle = loadColour(mean > 0 ? tokens / mean : 0, dark);
        pen.fillRect(column * cell.width, row * cell.height, cell.width - gap, cell.height - gap);
        if (tokens === 0 && cell.width > 6) {
          pen.strokeStyle = dark ? "rgb(20,22,26)" : "rgb(255,255,255)";
          pen.strokeRect(column * cell.width + 2.5, row * cell.height + 2.5, cell.width - 6, cell.height - 6);
        }
      }
    }
    if (chosen) {
      pen.lineWidth = 2;
      pen.strokeStyle = getComputedStyle(root).getPropertyValue("--ink");
      pen.strokeRect(
        chosen.column * cell.width,
        chosen.row * cell.height,
        cell.width - gap,
        cell.height - gap,
      );
    }
    read();
  };
  slider.addEventListener("input", draw);
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    chosen = {
      row: Math.max(0, Math.min(rows - 1, Math.floor((event.clientY - box.top) / cell.height))),
      column: Math.max(0, Math.min(columns - 1, Math.floor((event.clientX - box.left) / cell.width))),
    };
    draw();
  });
  canvas.addEventListener("pointerleave", () => {
    chosen = null;
    draw();
  });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!move) return;
    event.preventDefault();
    const now = chosen ?? { row: 0, column: -1 };
    chosen = {
      row: Math.max(0, Math.min(rows - 1, now.row + (move[0] as number))),
      column: Math.max(0, Math.min(columns - 1, now.column + (move[1] as number))),
    };
    draw();
  });
  redraws.push(draw);
}

// ── Answers to read ──────────────────────────────────────────────────────────────────────────────────────────────────────────
function setUpExamples(): void {
  const box = one<HTMLElement>("#example");
  const select = one<HTMLSelectElement>("#example-kind");
  const place = one<HTMLElement>("#example-at");
  if (!box || !select || !place) return;
  let at = 0;
  const fill = (name: string, text: string) => {
    const element = one<HTMLElement>(`[data-field="${name}"]`, box);
    if (element) element.textContent = text;
  };
  const chosen = () => data.examples.filter((each) => select.value === "all" || each.kind === select.value);
  const draw = () => {
    const list = chosen();
    at = list.length === 0 ? 0 : (at + list.length) % list.length;
    const example = list[at];
    place.textContent = example ? say("exampleAt", { at: at + 1, count: list.length }) : say("noExample");
    box.hidden = !example;
    if (!example) return;
    fill("tags", example.tags.join(" · "));
    fill("problem", example.problem);
    fill("reference", example.reference);
    fill(
      "objective",
      example.objective === null ? "" : say("provenOptimum", { value: shortNumber(example.objective) }),
    );
    for (const side of ["base", "candidate"] as const) {
      const answer = example[side];
      const solved =
        answer.objective === null ? "" : say("solvesTo", { value: shortNumber(answer.objective) });
      const verdict = one<HTMLElement>(`[data-field="${side}-verdict"]`, box);
      if (verdict) {
        verdict.className = `verdict v-${answer.verdict}`;
        verdict.textContent = say(answer.verdict);
      }
      fill(
        `${side}-why`,
        [solved, answer.verdict === "correct" ? "" : answer.reason].filter(Boolean).join(" · "),
      );
      fill(`${side}-text`, answer.text.trim() === "" ? say("emptyAnswer") : answer.text);
    }
  };
  const move = (by: number) => () => {
    at += by;
    draw();
  };
  one("#example-previous")?.addEventListener("click", move(-1));
  one("#example-next")?.addEventListener("click", move(1));
  select.addEventListener("change", () => {
    at = 0;
    draw();
  });
  redraws.push(draw);
}

setUpCharts();
setUpHeat();
setUpExamples();
setUpSwitches();
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("beforeprint", () => {
  for (const details of all<HTMLDetailsElement>("details")) details.open = true;
});
root.dataset["ready"] = "yes";
