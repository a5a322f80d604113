/**
 * What a run of 1,500 steps on four ranks leaves in its telemetry, and what it takes to look at it: bytes, writing, opening again after
 * a crash, reading all curves, reducing one for the screen.
 *
 *   node bench/store.ts [steps] [ranks]
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { encodeArray, readLastStep, Series, TELEMETRY_FILE, type WorkerMessage } from "../src/run/index.ts";
import { bucketize, readSeries } from "../src/store/index.ts";

const [steps = 1500, ranks = 4] = process.argv.slice(2).map(Number);
const LAYERS = 4;
const EXPERTS = 16;
const folder = mkdtempSync(join(tmpdir(), "tessera-bench-"));
const timed = <T>(name: string, work: () => T): T => {
  const start = performance.now();
  const result = work();
  console.log(`${name.padEnd(44)} ${(performance.now() - start).toFixed(1).padStart(8)} ms`);
  return result;
};

/** Messages of one rank at one step, with the fields that the engine sends. */
function messages(rank: number, step: number): WorkerMessage[] {
  const at = { v: 1 as const, run: "0123456789ab", rank, step, t: 1.7e9 + step / 3, attempt: 1 };
  const noise = Math.sin(step * 12.9898 + rank * 78.233);
  const spans = ["data", "forward", "backward", "exchange", "optimizer", "clip"];
  const memory = ["weights", "gradients", "optimizer", "peak", "hostPeak"];
  const measured = (names: readonly string[], unit: number) =>
    Object.fromEntries(names.map((name, i) => [name, unit * (i + 1 + noise / 3)]));
  const losses = [
    "loss",
    "mainLoss",
    "mtpLoss",
    "indexerLoss",
    "balanceLoss",
    "gradNorm",
    "learningRate",
    "seconds",
  ];
  const told = {
    ...at,
    kind: "step",
    ...measured(losses, 0.3712345678),
    tokens: 2048,
    targets: 1536,
    cursor: step,
    spans: measured(spans, 0.0123456789),
    memory: measured(memory, 123456789),
    dropped: 0,
  };
  if (rank > 1) return [told];
  const counts = Array.from({ length: LAYERS * EXPERTS }, (_, i) =>
    Math.round(100 + 50 * Math.sin(i + step)),
  );
  const layers = Array.from({ length: LAYERS }, (_, i) => i);
  return [told, { ...at, kind: "load", layers, counts: encodeArray("int32", [LAYERS, EXPERTS], counts) }];
}

try {
  console.log(
    `${cpus()[0]?.model ?? "unknown processor"}, Node ${process.version}, ${steps} steps, ${ranks} ranks`,
  );
  let written = 0;
  timed("write as it comes", () => {
    const series = new Series(folder, ranks);
    for (let step = 1; step <= steps; step++)
      for (let rank = 0; rank < ranks; rank++)
        for (const message of messages(rank, step)) series.write("0", 1, ++written, message);
    series.close();
  });
  const { size } = statSync(join(folder, TELEMETRY_FILE));
  console.log(
    `${(size / 1e6).toFixed(2)} MB, ${(size / steps).toFixed(0)} bytes a step, ${written} messages`,
  );
  timed("open again", () => new Series(folder, ranks).close());
  timed("newest step (tessera status)", () => readLastStep(folder));
  const loss = timed("read all curves (report)", () => readSeries(folder).scalar("loss"));
  timed("reduce to 1,200 buckets", () => bucketize(loss.step, loss.value, 1200));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
