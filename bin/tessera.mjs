#!/usr/bin/env node
// Starts on any Node from 20 on: finds Node 24 (which npm installed beside us) and runs the command line there.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const main = join(root, "src", "cli", "main.ts");

function bundledNode() {
  try {
    const folder = dirname(createRequire(import.meta.url).resolve(`node-linux-${process.arch}/package.json`));
    const binary = join(folder, "bin", "node");
    return existsSync(binary) ? binary : undefined;
  } catch {
    return undefined;
  }
}

if (Number(process.versions.node.split(".")[0]) >= 24) {
  await import(main);
} else {
  const node = bundledNode();
  if (!node) {
    console.error(
      `ENV_NODE: Tessera runs on Node 24 or newer; this is ${process.version} and the bundled one is not installed.\n  next: npm ci   (in ${root})\nENV_NODE：Tessera 需要 Node 24 以上，目前是 ${process.version}，且隨附的 Node 尚未安裝。\n  下一步：npm ci`,
    );
    process.exit(3);
  }
  const child = spawn(node, [main, ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? 128 + ({ SIGINT: 2, SIGTERM: 15, SIGHUP: 1, SIGKILL: 9 }[signal] ?? 1);
  });
}
