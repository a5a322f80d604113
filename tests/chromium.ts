import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

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
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
}
