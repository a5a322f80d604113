/**
 * Produce and screen, on one thread: problems and megabytes of text a second, from nothing to the selected training set.
 * node bench/data.ts [drafts]
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { dataPart, runSteps, STEP_NAMES } from "../src/domains/or/index.ts";

const drafts = Number(process.argv[2] ?? 6000);
const folder = mkdtempSync(join(tmpdir(), "tessera-bench-"));
try {
  const started = new Map<string, { wall: number; cpu: number }>();
  const rows: string[] = [];
  const now = () => ({ wall: performance.now() / 1000, cpu: cpuSeconds() });
  const begin = now();
  const steps = await runSteps(dataPart.parse({ drafts }), folder, "select", ({ step, done, of }) => {
    if (!started.has(step)) started.set(step, now());
    else if (done === 1 && of === 1) {
      const since = started.get(step) ?? begin;
      rows.push(
        `${step.padEnd(14)} ${(now().wall - since.wall).toFixed(2).padStart(7)} s wall ${(now().cpu - since.cpu).toFixed(2).padStart(7)} s cpu`,
      );
    }
  });
  const wall = now().wall - begin.wall;
  const cpu = now().cpu - begin.cpu;
  const accepted = steps.gate?.manifest.counts["out"] ?? 0;
  const bytes = statSync(join(steps.gate?.folder ?? "", "samples.jsonl")).size;
  console.log(rows.join("\n"));
  console.log(
    `${drafts} drafts, ${accepted} accepted, ${steps.select?.manifest.counts["train"]} selected (${STEP_NAMES.slice(0, 7).join(" > ")})`,
  );
  for (const [name, seconds] of [
    ["wall", wall],
    ["cpu", cpu],
  ] as const) {
    console.log(
      `${name}: ${seconds.toFixed(1)} s, ${(accepted / seconds).toFixed(0)} problems/s (${Math.round((accepted / seconds) * 60)} a minute), ${(bytes / 1e6 / seconds).toFixed(3)} MB/s`,
    );
  }
  console.log(`${cpus()[0]?.model}, one thread, node ${process.version}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
