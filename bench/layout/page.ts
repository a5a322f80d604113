/**
 * How fast the planner page answers a hand on a slider, in a real browser.
 *   node bench/layout/page.ts [drags]
 * DeepSeek-V4-Pro on 512 dies. Every input event of a slider is timed from its time stamp to the first frame after which its answer, or
 * that to a later event, stands on the screen (two animation frames: one that draws, one that comes after it). An answer is a plan or the
 * card that says why there is none. Goal: 100 ms.
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { loadavg } from "node:os";
import { extname, join, resolve } from "node:path";
import { chromium } from "playwright-core";
import { build } from "vite";
import { machine } from "./shared.ts";

const drags = Number(process.argv[2] ?? 40);
const page = resolve(import.meta.dirname, "../../web/planner");
await build({ root: page, configFile: join(page, "vite.config.ts"), logLevel: "error" });
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
};
const server = createServer((request, response) => {
  const path = new URL(request.url ?? "/", "http://localhost").pathname;
  const file = join(page, "dist", path === "/" ? "index.html" : path);
  response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
  response.end(readFileSync(file));
});
await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
const address = server.address();
const port = typeof address === "object" && address ? address.port : 0;
const browser = await chromium.launch({
  executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

/**
 * In the page: notes for every input event how long it took until a frame showed the answer to it or to a later one: a plan, or the
 * card that says why there is none. An answer that is said to stand there but cannot be seen is noted as hidden.
 */
function watch() {
  const store = window as unknown as Store;
  Object.assign(store, { latencies: [], planner: [], refused: 0, hidden: 0 });
  const open: { id: number; from: number }[] = [];
  addEventListener(
    "input",
    (event) =>
      // The page has sent its question when this listener of the window runs: the number is the question's.
      open.push({ id: Number(document.body.dataset["asked"]), from: event.timeStamp }),
    false,
  );
  const results = document.querySelector<HTMLElement>(".results") as HTMLElement;
  const inView = (element: Element | null) => {
    const box = element?.getBoundingClientRect();
    return box !== undefined && box.height > 0 && box.bottom > 0 && box.top < innerHeight;
  };
  new MutationObserver(() => {
    const shown = Number(results.dataset["answer"]);
    const grid = results.querySelector<HTMLElement>(".grid");
    const problem = results.querySelector(".card.problem");
    const plan = problem === null;
    if (plan && grid?.dataset["full"] === "false") store.planner.push(Number(grid.dataset["ms"]));
    const answered = open.filter(({ id }) => id <= shown);
    if (answered.length === 0) return;
    open.splice(0, open.length, ...open.filter(({ id }) => id > shown));
    if (!plan) store.refused += answered.length;
    const stands = plan ? Number(grid?.dataset["id"]) === shown && inView(grid) : inView(problem);
    if (!stands) store.hidden++;
    requestAnimationFrame(() =>
      requestAnimationFrame((now) => {
        for (const { from } of answered) store.latencies.push(now - from);
      }),
    );
  }).observe(results, { attributes: true, attributeFilter: ["data-answer"] });
}

type Store = { latencies: number[]; planner: number[]; refused: number; hidden: number };
/** What the page noted since the last call. */
const noted = () => {
  const store = window as unknown as Store;
  const { latencies, planner, refused, hidden } = store;
  Object.assign(store, { latencies: [], planner: [], refused: 0, hidden: 0 });
  return { latencies, planner, refused, hidden };
};

const quantile = (sorted: readonly number[], q: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] as number;
console.log(`${machine()}, load ${loadavg()[0]?.toFixed(1)}`);
const tab = await browser.newPage({ viewport: { width: 1440, height: 900 } });
const planner: number[] = [];
const address0 = `http://127.0.0.1:${port}/#lang=en`;
const began = performance.now();
await tab.goto(address0);
await tab.waitForSelector(".grid[data-full=true]", { timeout: 120_000 });
console.log(`open to the first full plan: ${(performance.now() - began).toFixed(0)} ms`);
await tab.waitForSelector("#fallbacks", { timeout: 120_000 });
await tab.evaluate(watch);
const all: number[] = [];
for (const control of ["network", "memory", "imbalance", "devices", "batch"]) {
  const slider = tab.locator(`[data-control=${control}]`);
  const box = await slider.boundingBox();
  if (!box) throw new Error(`no slider ${control}`);
  const y = box.y + box.height / 2;
  const start = await slider.evaluate((element) => {
    const { value, min, max } = element as HTMLInputElement;
    return (Number(value) - Number(min)) / (Number(max) - Number(min));
  });
  const x = (share: number) => box.x + 8 + Math.min(1, Math.max(0, share)) * (box.width - 16);
  await tab.mouse.move(x(start), y);
  await tab.mouse.down();
  for (let i = 0; i < drags; i++) {
    // A hand that sways around the start value, one move a frame.
    await tab.mouse.move(x(start + 0.18 * Math.sin(i / 4)), y);
    await tab.waitForTimeout(16);
  }
  await tab.mouse.up();
  await tab.waitForTimeout(3000);
  const { latencies: taken, planner: took, refused, hidden } = await tab.evaluate(noted);
  if (hidden > 0) throw new Error(`${control}: ${hidden} answers could not be seen`);
  planner.push(...took);
  all.push(...taken);
  taken.sort((a, b) => a - b);
  console.log(
    `${control.padEnd(10)} ${taken.length} inputs: median ${quantile(taken, 0.5).toFixed(0)} ms, p95 ${quantile(taken, 0.95).toFixed(0)} ms${refused > 0 ? `; ${refused} of them answered that nothing fits` : ""}`,
  );
}
all.sort((a, b) => a - b);
console.log(
  `all        ${all.length} inputs: median ${quantile(all, 0.5).toFixed(0)} ms, p95 ${quantile(all, 0.95).toFixed(0)} ms, worst ${quantile(all, 1).toFixed(0)} ms; goal 100 ms`,
);
planner.sort((a, b) => a - b);
console.log(
  `of which the planner in its worker: median ${quantile(planner, 0.5).toFixed(0)} ms, p95 ${quantile(planner, 0.95).toFixed(0)} ms`,
);
await browser.close();
server.close();
