import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { type Browser, chromium, type Page } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Where distributions put Chromium; CHROMIUM names another. */
const PLACES = [
  process.env["CHROMIUM"],
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
];

/** The system's Chromium, headless. Nothing is downloaded: without one the message says how to get it. */
export async function openChromium(): Promise<Browser> {
  const executablePath = PLACES.find((path) => path !== undefined && existsSync(path));
  if (executablePath === undefined) {
    throw new Error(
      "no Chromium found (looked at /usr/bin/chromium and others). Debian: apt-get install chromium; or set CHROMIUM to its path",
    );
  }
  return chromium.launch({
    executablePath,
    timeout: 120_000,
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
}

export type PageOptions = {
  readonly width?: number;
  readonly theme?: "light" | "dark";
  /** For pages that allow no script but their own. */
  readonly bypassCSP?: boolean;
  /** Addresses that the page may ask. */
  readonly allowed: RegExp;
  /** What goes wrong on the page is added here. */
  readonly problems: string[];
};

/** Opens an address in a window of its own. */
export async function openPage(browser: Browser, url: string, options: PageOptions): Promise<Page> {
  const { width = 1280, theme = "light", bypassCSP = false, allowed, problems } = options;
  const viewport = { width, height: 900 };
  const context = await browser.newContext({ viewport, colorScheme: theme, bypassCSP });
  context.setDefaultTimeout(120_000);
  const page = await context.newPage();
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
  page.on("request", (request) => {
    if (!allowed.test(request.url())) problems.push(`asked for ${request.url()}`);
  });
  await page.goto(url);
  return page;
}

/** What axe finds wrong for those who see or hear a page in other ways, with all its folds open. */
export async function barriers(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  return page.evaluate(async () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
    const { axe } = window as unknown as {
      axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
    };
    const { violations } = await axe.run();
    return violations.map(({ id, nodes }) => {
      const shown = nodes.slice(0, 3).map((node) => node.html.slice(0, 160));
      return `${id}: ${shown.join(" | ")}`;
    });
  });
}
