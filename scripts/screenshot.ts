/**
 * Pictures of a report for the README: docs/report-en.png and docs/report-zh.png, as wide as a desktop and as high as `--height`.
 * Run: node scripts/screenshot.ts runs/<name>/<id>/report.html [--out docs] [--height 1500]
 */
import { existsSync, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { openChromium } from "../tests/chromium.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { out: { type: "string", default: "docs" }, height: { type: "string", default: "1500" } },
});
const report = positionals[0];
if (report === undefined || !existsSync(report)) {
  console.error(`screenshot: no report at ${report ?? "(not given)"}; give the path of a report.html`);
  process.exit(2);
}
mkdirSync(values.out, { recursive: true });
const browser = await openChromium();
try {
  for (const lang of ["en", "zh"]) {
    const page = await browser.newPage({
      viewport: { width: 1280, height: Number(values.height) },
      colorScheme: "light",
    });
    await page.goto(`file://${resolve(report)}#lang=${lang}`);
    await page.waitForSelector("html[data-ready=yes]");
    const path = join(values.out, `report-${lang}.png`);
    await page.screenshot({ path });
    console.log(path);
    await page.close();
  }
} finally {
  await browser.close();
}
