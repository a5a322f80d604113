/**
 * How fast the planner page answers a hand on a slider, in a real browser.
 *   node bench/layout/page.ts [drags]
 * DeepSeek-V4-Pro on 512 dies. Every input event of a slider is timed from its time stamp to the first frame after which the new numbers
 * stand on the screen (two animation frames: one that draws, one that comes after it). Goal: 100 ms.
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

/** In the page: notes for every input event how long it took until a frame showed an answer to it or to a later one. */
function watch() {
  const store = window as unknown as { latencies: number[]; planner: number[] };
  store.latencies = [];
  store.planner = [];
  const open: { id: number; from: number }[] = [];
  addEventListener(
    "input",
    (event) =>
      // The page has sent its question when this listener of the window runs: the number is the question's.
      open.push({ id: Number(document.body.dataset["asked"]), from: event.timeStamp }),
    false,
  );
  new MutationObserver(() => {
    const grid = document.querySelector<HTMLElement>(".grid");
    const shown = Number(grid?.dataset["id"] ?? 0);
    if (grid?.dataset["full"] === "false") store.planner.push(Number(grid.dataset["ms"]));
    const answered = open.filter(({ id }) => id <= shown);
    if (answered.length === 0) return;
    open.splice(0, open.length, ...open.filter(({ id }) => id > shown));
    requestAnimationFrame(() =>
      requestAnimationFrame((now) => {
        for (const { from } of answered) store.latencies.push(now - from);
      }),
    );
  }).observe(document.body, { subtree: true, attributes: true, attributeFilter: ["data-id"] });
}

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
  const taken = await tab.evaluate(() => (window as unknown as { latencies: number[] }).latencies.splice(0));
  planner.push(...(await tab.evaluate(() => (window as unknown as { planner: number[] }).planner.splice(0))));
  all.push(...taken);
  taken.sort((a, b) => a - b);
  console.log(
    `${control.padEnd(10)} ${taken.length} inputs: median ${quantile(taken, 0.5).toFixed(0)} ms, p95 ${quantile(taken, 0.95).toFixed(0)} ms`,
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
