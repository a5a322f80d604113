import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { renderReport } from "../../src/console/report/index.ts";
import { sampleInput } from "../../src/console/report/testing/sample.ts";
import { barriers, openChromium, openPage } from "../chromium.ts";

const input = sampleInput();
let browser: Browser;
let folder: string;
let url: string;
const problems: string[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "tessera-report-"));
  const file = join(folder, "report.html");
  writeFileSync(file, renderReport(input));
  url = `file://${file}`;
  browser = await openChromium();
});
afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});
afterEach(() => {
  expect(problems.splice(0)).toEqual([]);
});

async function open(hash: string, width = 1280, theme: "light" | "dark" = "light"): Promise<Page> {
  const page = await openPage(browser, `${url}#${hash}`, {
    width,
    theme,
    bypassCSP: true,
    allowed: /^file:/,
    problems,
  });
  await page.waitForSelector("html[data-ready=yes]");
  return page;
}

test("opens in the language asked for and switches without loading anything", async () => {
  const page = await open("lang=en");
  const title = () => page.innerText("h1");
  expect(await title()).toContain("points");
  expect(await page.title()).toContain("training report");
  await page.click("#language");
  expect(await title()).toContain("個百分點");
  expect(await page.getAttribute("html", "lang")).toBe("zh-Hant");
  expect(await page.title()).toContain("訓練報告");
  expect(await page.getAttribute("#heat canvas", "aria-label")).toContain("專家負載");
  expect(await page.innerText("#example-kind option:first-child")).toContain("轉為正確");
  expect(await page.locator(".en:visible").count()).toBe(0);
  await page.close();
});

test("draws the measured numbers", async () => {
  const page = await open("lang=en");
  const overall = input.evaluation?.result.comparison.overall;
  if (!overall) throw new Error("the sample has no evaluation");
  expect(await page.innerText("h1 .big")).toBe(`+${(100 * overall.difference.value).toFixed(1)}`);
  // The dots of the headline stand where the shares are.
  const dots = await page.evaluate(() => {
    const box = document.querySelector(".share")?.getBoundingClientRect();
    const middle = (selector: string) => {
      const dot = document.querySelector(selector)?.getBoundingClientRect();
      return dot && box ? (dot.left + dot.width / 2 - box.left) / box.width : Number.NaN;
    };
    return [middle(".dot-base"), middle(".dot-candidate")];
  });
  expect(dots[0]).toBeCloseTo(overall.base.value, 2);
  expect(dots[1]).toBeCloseTo(overall.candidate.value, 2);
  // Pieces of memory are as wide as their bytes, the capacity line stands at the capacity.
  const rank = input.memory?.ranks[0];
  const widths = await page.evaluate(() => {
    const row = document.querySelector(".pieces");
    const box = row?.getBoundingClientRect();
    const parts = [...(row?.querySelectorAll("span") ?? [])].map(
      (part) => part.getBoundingClientRect().width,
    );
    const line = row?.querySelector(".cap")?.getBoundingClientRect();
    return { parts, capacity: (line?.left ?? 0) - (box?.left ?? 0) };
  });
  const perByte = widths.capacity / (input.memory?.capacityBytes ?? Number.NaN);
  const bytes = Object.values(rank?.planned ?? {});
  expect(widths.parts).toHaveLength(bytes.length);
  for (const [i, width] of widths.parts.entries())
    expect(width / perByte / (bytes[i] ?? 0)).toBeCloseTo(1, 1);
  // A bar of the data is as long as what is left of the first step.
  const kept = await page.evaluate(() =>
    [...document.querySelectorAll(".funnelbar")].map((bar) => {
      const box = bar.getBoundingClientRect();
      return (bar.querySelector(".kept")?.getBoundingClientRect().width ?? 0) / box.width;
    }),
  );
  for (const [i, share] of kept.entries()) expect(share).toBeCloseTo((input.funnel[i]?.out ?? 0) / 5210, 2);
  await page.close();
});

test("charts: the pointer and the arrow keys read values, all charts together; the axis turns logarithmic", async () => {
  const page = await open("lang=en");
  const loss = input.training?.curves[0];
  const norm = input.training?.curves[2];
  const figure = page.locator('figure[data-chart="loss"]');
  await figure.scrollIntoViewIfNeeded();
  await figure.locator(".plot").focus();
  await page.keyboard.press("Home");
  expect(await figure.locator(".read").innerText()).toContain(`step 1: ${loss?.points[0]?.[3]?.toFixed(3)}`);
  for (const key of `${"PageDown ".repeat(7)}${"ArrowRight ".repeat(6)}`.trim().split(" "))
    await page.keyboard.press(key);
  const read = await page.locator('figure[data-chart="gradNorm"] .read').innerText();
  expect(read).toContain("step 77:");
  expect(Number(read.split(": ")[1]?.split(" ")[0])).toBeCloseTo(norm?.points[76]?.[3] ?? Number.NaN, 1);
  const box = await figure.locator("svg").boundingBox();
  if (!box) throw new Error("no chart");
  await page.mouse.move(box.x + box.width - 10, box.y + 80);
  expect(await figure.locator(".read").innerText()).toContain("step 240:");
  expect(await figure.locator(".cursor").getAttribute("visibility")).toBe("visible");
  const ticks = () => figure.locator("text.tick").allTextContents();
  const before = await ticks();
  await figure.locator("input").check();
  expect(await ticks()).not.toEqual(before);
  expect(await ticks()).toContain("0.5");
  expect(await figure.locator(".fault").count()).toBe(1);
  expect(await figure.locator("circle.lost").count()).toBe(loss?.lost.length);
  await page.close();
});

test("load map: the cell under the keys is told, its colour follows its load, the slider moves the step", async () => {
  const page = await open("lang=en");
  const frames = input.experts?.frames ?? [];
  const canvas = page.locator("#heat canvas");
  await canvas.focus();
  await page.keyboard.press("ArrowRight");
  const read = () => page.innerText("#heat .read");
  const last = frames.at(-1);
  expect(await read()).toContain(`step ${last?.step} · layer 0, expert 0: ${last?.counts[0]} tokens`);
  await page.locator("#heat input").fill("1");
  for (let i = 0; i < 9; i++) await page.keyboard.press("ArrowRight");
  await canvas.focus();
  for (let i = 0; i < 9; i++) await page.keyboard.press("ArrowRight");
  expect(frames.find((frame) => frame.step === 5)?.counts[9]).toBe(0);
  await page.locator("#heat input").fill("1");
  expect(await read()).toContain("step 5 · layer 0, expert 9: 0 tokens, 0.00 × of an even share");
  const colours = await page.evaluate(() => {
    const map = document.querySelector<HTMLCanvasElement>("#heat canvas");
    const pen = map?.getContext("2d");
    if (!map || !pen) return [];
    const [width, height] = [map.width / 16, map.height / 6];
    return [5, 9].map((column) =>
      Array.from(pen.getImageData(column * width + width / 2, height * 0.5, 1, 1).data.slice(0, 3)),
    );
  });
  expect(colours[1]).toEqual([16, 38, 86]);
  expect(colours[0]).not.toEqual(colours[1]);
  await page.close();
});

test("answers: kinds, paging and verdicts", async () => {
  const page = await open("lang=en");
  const examples = input.evaluation?.examples ?? [];
  const gained = examples.filter(
    (one) => one.base.verdict !== "correct" && one.candidate.verdict === "correct",
  );
  expect(await page.innerText("#example-at")).toBe(`1 of ${gained.length}`);
  expect(await page.innerText('[data-field="problem"]')).toBe(gained[0]?.problem);
  expect(await page.innerText('[data-field="candidate-verdict"]')).toBe("correct");
  await page.click("#example-previous");
  expect(await page.innerText("#example-at")).toBe(`${gained.length} of ${gained.length}`);
  await page.selectOption("#example-kind", "missed");
  expect(await page.innerText('[data-field="candidate-verdict"]')).not.toBe("correct");
  await page.selectOption("#example-kind", "all");
  expect(await page.innerText("#example-at")).toBe("1 of 240");
  await page.close();
});

test("what a model wrote stays text", async () => {
  const page = await open("lang=en");
  await page.click("summary");
  expect(await page.innerText("details[open] pre")).toContain('<script>alert("never")</script>');
  await page.close();
});

for (const [width, theme, lang] of [
  [1280, "light", "en"],
  [1280, "dark", "zh"],
  [390, "light", "zh"],
  [390, "dark", "en"],
] as const) {
  test(`is accessible and fits at ${width} pixels, ${theme}, ${lang}`, async () => {
    const page = await open(`lang=${lang}`, width, theme);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    expect(await barriers(page)).toEqual([]);
    await page.close();
  });
}

test("prints on paper with all it holds", async () => {
  const page = await open("lang=en");
  await page.emulateMedia({ media: "print" });
  const pdf = await page.pdf({ format: "A4" });
  expect(pdf.subarray(0, 5).toString()).toBe("%PDF-");
  expect(pdf.length).toBeGreaterThan(50_000);
  await page.close();
});
