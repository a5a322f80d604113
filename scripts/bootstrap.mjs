// The two commands of the README start here, on whatever Node (from 20.12 on) the machine has: install what is missing, then work.
// Plain JavaScript on purpose: it must run before npm ci has ever run.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const venv = process.env.TESSERA_VENV ?? join(root, ".venv");
export const python = join(venv, "bin", "python");

const hash = (...paths) => {
  const sum = createHash("sha256");
  for (const path of paths) sum.update(readFileSync(join(root, path)));
  return sum.digest("hex").slice(0, 16);
};
const stampHolds = (path, value) => existsSync(path) && readFileSync(path, "utf8") === value;

/** Runs a command with the terminal attached; stops with its exit code and both languages if it fails. */
export function need(what, command, args, options = {}) {
  const done = spawnSync(command, args, { cwd: root, stdio: "inherit", ...options });
  if (done.status === 0) return;
  const why = done.error ? done.error.message : `exit ${done.status ?? done.signal}`;
  console.error(
    `\nENV_SETUP: ${what} failed (${why}).\n  next: ${command} ${args.join(" ")}\nENV_SETUP：${what} 失敗（${why}）。`,
  );
  process.exit(3);
}

/** npm packages as the lock file says; skipped when the stamp of the lock is there. */
function installNode() {
  const stamp = join(root, "node_modules", ".tessera-stamp");
  const value = hash("package-lock.json");
  if (stampHolds(stamp, value)) return;
  console.error("… npm packages");
  need("npm ci", "npm", ["ci", "--no-audit", "--no-fund"]);
  writeFileSync(stamp, value);
}

/** First Python from 3.10 to 3.13 among TESSERA_PYTHON, python3, python3.13 … python3.10. */
function findPython() {
  const tried = [];
  for (const name of [
    process.env.TESSERA_PYTHON,
    "python3",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
  ]) {
    if (!name) continue;
    const done = spawnSync(
      name,
      ["-c", "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"],
      { encoding: "utf8" },
    );
    const version = done.status === 0 ? done.stdout.trim() : undefined;
    tried.push(`${name}${version ? ` (${version})` : ""}`);
    if (version && /^3\.1[0-3]$/.test(version)) return name;
  }
  console.error(
    `ENV_PYTHON: no Python 3.10-3.13 with venv found (tried ${tried.join(", ")}).\n  next: install one (Debian: apt-get install python3-venv) or set TESSERA_PYTHON\nENV_PYTHON：找不到帶 venv 的 Python 3.10–3.13（試過 ${tried.join("、")}）。\n  下一步：安裝 Python，或設定 TESSERA_PYTHON`,
  );
  process.exit(3);
}

/** Python environment with torch for the CPU and, for tests and checks, the development tools; honours pip's own settings. */
function installPython(dev) {
  const files = ["engine/requirements.txt", ...(dev ? ["engine/requirements-dev.txt"] : [])];
  const stamp = join(venv, dev ? ".tessera-stamp-dev" : ".tessera-stamp");
  const value = hash(...files);
  if (existsSync(python) && stampHolds(stamp, value)) return;
  console.error("… Python environment (torch for the CPU; the first time takes a few minutes)");
  if (!existsSync(python)) {
    rmSync(venv, { recursive: true, force: true });
    mkdirSync(dirname(venv), { recursive: true });
    need("python -m venv", findPython(), ["-m", "venv", venv]);
  }
  const pip = [python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]];
  for (const file of files) need(`pip install -r ${file}`, pip[0], [...pip[1], "-r", file]);
  writeFileSync(stamp, value);
}

/** Where the browser tests look for Chromium; CHROMIUM names another place. */
export const chromium = () =>
  [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
    (path) => path && existsSync(path),
  );

/** Chromium for the browser tests, where this user may install it; elsewhere those tests are left out and counted as skipped. */
function installChromium() {
  if (chromium()) return;
  const apt = spawnSync("apt-get", ["--version"], { stdio: "ignore" }).status === 0;
  if (!apt || process.getuid?.() !== 0) return;
  console.error("… Chromium and a Chinese font for the browser tests");
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  spawnSync("apt-get", ["update", "-qq"], { stdio: "ignore", env });
  spawnSync("apt-get", ["install", "-y", "-qq", "chromium", "fonts-noto-cjk"], { stdio: "ignore", env });
}

function bundledNode() {
  const path = join(root, "node_modules", `node-linux-${process.arch}`, "bin", "node");
  return Number(process.versions.node.split(".")[0]) >= 24 || !existsSync(path) ? process.execPath : path;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [task = "", ...rest] = process.argv.slice(2);
  installNode();
  if (task !== "setup-node") installPython(task !== "quickstart" && task !== "setup");
  const node = bundledNode();
  if (task === "setup" || task === "setup-node" || task === "setup-dev") console.error("setup: done");
  else if (task === "quickstart")
    need("the quick start", node, [join(root, "scripts", "quickstart.ts"), ...rest], { env: process.env });
  else if (task === "test" || task === "check") {
    if (task === "test") installChromium();
    const done = spawnSync(node, [join(root, "scripts", `${task}.mjs`), ...rest], {
      cwd: root,
      stdio: "inherit",
    });
    process.exitCode = done.status ?? 1;
  } else {
    console.error(`bootstrap: no task "${task}"; one of setup, quickstart, test, check`);
    process.exitCode = 2;
  }
}
