import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";
import type { Browser, Page } from "playwright-core";
import { build } from "vite";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { barriers, openChromium, openPage } from "../chromium.ts";

const ROOT = resolve(import.meta.dirname, "../../web/planner");
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
};
/** A small question, so that the whole search answers at once. */
const SMALL = "model=Qwen3-30B-A3B&device=h100&devices=64&batch=256";
let browser: Browser;
let folder: string;
let server: Server;
let origin = "";
const problems: string[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "tessera-page-"));
  await build({
    root: ROOT,
    configFile: join(ROOT, "vite.config.ts"),
    logLevel: "error",
    build: { outDir: folder, emptyOutDir: true },
  });
  server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    const file = join(folder, path === "/" ? "index.html" : path);
    response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
    response.end(readFileSync(file));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  origin = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}/`;
  browser = await openChromium();
}, 180_000);
afterAll(async () => {
  await browser?.close();
  server?.close();
  server?.closeAllConnections();
  rmSync(folder, { recursive: true, force: true });
});
afterEach(() => {
  expect(problems.splice(0)).toEqual([]);
});

async function open(hash: string, width = 1280, theme: "light" | "dark" = "light"): Promise<Page> {
  const allowed = new RegExp(`^(${origin}|data:|blob:)`);
  const page = await openPage(browser, `${origin}#${hash}`, { width, theme, allowed, problems });
  await page.waitForSelector(".grid[data-full=true], .card.problem");
  return page;
}
const figure = (page: Page, name: string) => page.innerText(`[data-figure=${name}]`);

test("a link opens what it says, and the address follows the controls", async () => {
  const page = await open(`lang=en&${SMALL}&optimizer=muon`);
  expect(await page.inputValue("[data-control=model]")).toBe("Qwen3-30B-A3B");
  expect(await page.inputValue("[data-control=optimizer]")).toBe("muon");
  await page.selectOption("[data-control=optimizer]", "adamw");
  await page.waitForFunction(() => !location.hash.includes("muon"));
  const link = page.url();
  expect(link).toContain("device=h100");
  const other = await open(link.split("#")[1] as string);
  expect(await figure(other, "seconds")).toBe(await figure(page, "seconds"));
  await other.close();
  await page.close();
});

test("numbers and explanation follow a slider, first nearby, then over the whole space", async () => {
  const page = await open(`lang=en&${SMALL}`);
  const before = { tokens: await figure(page, "tokens"), why: await page.innerText("#why") };
  const seen = page.evaluate(
    () =>
      new Promise<string[]>((done) => {
        const states: string[] = [];
        new MutationObserver(() => {
          const grid = document.querySelector<HTMLElement>(".grid");
          states.push(grid?.dataset["full"] ?? "");
          if (states.length > 1 && grid?.dataset["full"] === "true") done(states);
        }).observe(document.body, { subtree: true, attributes: true, attributeFilter: ["data-id"] });
      }),
  );
  // All of it is in the page: it answers without the server, and to the keyboard.
  await page.context().setOffline(true);
  await page.focus("[data-control=network]");
  await page.keyboard.press("Home");
  const states = await seen;
  expect(states[0]).toBe("false");
  expect(states.at(-1)).toBe("true");
  expect(await figure(page, "tokens")).not.toBe(before.tokens);
  expect(await page.innerText("#why")).not.toBe(before.why);
  await page.close();
});

test("pieces stand as high as their bytes, in every column", async () => {
  const page = await open(`lang=en&${SMALL}`);
  await page.click("summary >> nth=0");
  const columns = await page.locator("g.column").count();
  expect(await page.locator("table.tight >> nth=0").locator("tbody tr").count()).toBe(columns);
  const ratio = await page.evaluate(() => {
    const height = (piece: string) =>
      document.querySelector(`g.column [data-piece=${piece}]`)?.getBoundingClientRect().height ?? 0;
    return height("gradients") / height("weights");
  });
  // fp32 gradients beside bf16 weights; half a pixel is left between pieces.
  expect(ratio).toBeGreaterThan(1.85);
  expect(ratio).toBeLessThan(2.15);
  await page.close();
});

test("a layout of the list shows its own pictures, and the way back", async () => {
  const page = await open(`lang=en&${SMALL}`);
  const best = await figure(page, "seconds");
  const second = page.locator("#list button.link >> nth=3");
  const name = await second.innerText();
  await second.focus();
  await page.keyboard.press("Enter");
  await page.waitForSelector("#back");
  expect((await page.locator(".chip").allInnerTexts()).join(" ")).toBe(name);
  expect(await figure(page, "seconds")).toBe(await page.innerText("#list tr >> nth=4 >> td >> nth=1"));
  await page.click("#back");
  expect(await figure(page, "seconds")).toBe(best);
  await page.close();
});

test("says why a layout was left out, what lost nodes cost, and hands settings over", async () => {
  const page = await open(`lang=en&${SMALL}`);
  await page.waitForSelector("#fallbacks tbody tr >> nth=6");
  await page.fill("#words", "EP1 MB4");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#rejected li");
  const rows = await page.locator("#rejected li span:first-child").allInnerTexts();
  for (const row of rows) expect(row).toContain("MB4");
  const tab = page.locator("[role=tab][aria-selected=true]");
  const first = await tab.innerText();
  await tab.focus();
  await page.keyboard.press("ArrowRight");
  expect(await tab.innerText()).not.toBe(first);
  expect(await page.evaluate(() => document.activeElement?.getAttribute("aria-selected"))).toBe("true");
  await page.close();
});

test("tells kindly what cannot be, and recovers", async () => {
  const page = await open("lang=en&model=DeepSeek-V4-Pro&device=910b4&devices=8&batch=256");
  const text = await page.innerText(".card.problem");
  expect(text).toContain("PLAN_NO_ROOM");
  expect(text).toMatch(/short by at least [\d.]+ [GT]iB/);
  await page.selectOption("[data-control=model]", "");
  await page.fill("dialog textarea", "{ not json");
  await page.click("dialog button.main");
  expect(await page.innerText("dialog [role=alert]")).toContain("not JSON");
  await page.fill("dialog textarea", '{ "model_type": "qwen3_mo", "hidden_size": 8 }');
  await page.click("dialog button.main");
  await page.waitForFunction(() => document.querySelector(".card.problem")?.textContent?.includes("UNKNOWN"));
  expect(await page.innerText(".card.problem")).toContain("qwen3_moe");
  await page.selectOption("[data-control=model]", "Llama-3.1-8B");
  await page.selectOption("[data-control=device]", "h100");
  await page.waitForSelector(".grid[data-full=true]");
  await page.waitForFunction(() => document.querySelector(".card.problem") === null);
  await page.close();
});

test("mixed devices stand side by side in the puzzle", async () => {
  const page = await open(
    "lang=en&model=Qwen3-30B-A3B&device=h100&devices=16&second=a100&secondDevices=16&batch=256",
  );
  await page.waitForSelector(".grid[data-full=true]");
  const devices = new Set<string>();
  for (let i = 0; i < (await page.locator("g.column").count()); i++) {
    await page.locator(`g.column >> nth=${i}`).hover();
    devices.add((await page.innerText("p.read")).split(" · ")[2] ?? "");
  }
  expect(devices).toEqual(new Set(["NVIDIA H100 SXM", "NVIDIA A100 SXM 80 GB"]));
  await page.close();
});

for (const [width, theme, lang] of [
  [1280, "light", "en"],
  [1280, "dark", "zh"],
  [390, "light", "zh"],
  [390, "dark", "en"],
] as const) {
  test(`is accessible and fits at ${width} pixels, ${theme}, ${lang}`, async () => {
    const page = await open(`lang=${lang}&${SMALL}`, width, theme);
    await page.waitForSelector(".gains li >> nth=5");
    expect(await page.getAttribute("html", "lang")).toBe(lang === "zh" ? "zh-Hant" : "en");
    expect(await page.innerText("h1")).toContain(lang === "zh" ? "規劃" : "planner");
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    expect(await barriers(page)).toEqual([]);
    await page.close();
  });
}
