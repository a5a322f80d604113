/**
 * Memory and speed of torchtitan's own published table (Llama-3.1 on 8 to 512 H100 of 96 GB and 500 W), asked as plain cases of
 * `estimate`: what the table prints, nothing fitted.
 *   node bench/layout/torchtitan.ts
 * Reads data/published_runs.csv of the reference folder (TESSERA_SHARED). Memory there is the peak of what the allocator reserves.
 */
import { unwrap } from "../../src/base/index.ts";
import { estimate, readCase } from "../../src/layout/index.ts";
import { percent, readCsv, sharedFile } from "./shared.ts";

const GiB = 1024 ** 3;
const rows = readCsv(sharedFile("published_runs.csv")).filter((row) =>
  /torchtitan\/? ?benchmarks\/llama3_h100/.test(row["source"] ?? ""),
);
const key = (row: Record<string, string>) =>
  ["model", "cards", "cp", "seq", "precision", "notes"].map((name) => row[name]).join("|");
const errors = { memory: [] as number[], time: [] as number[] };
for (const group of Map.groupBy(rows, key).values()) {
  const row = group[0] as Record<string, string>;
  const n = (name: string, absent: number) => Number(row[name]) || absent;
  const value = (metric: string) => Number(group.find((one) => one["metric"] === metric)?.["value"]);
  const [cards, tp, cp, pp] = [n("cards", 0), n("tp", 1), n("cp", 1), n("pp", 1)];
  const data = cards / (tp * cp * pp);
  const local = Number(/local batch (\d+)/.exec(row["notes"] ?? "")?.[1] ?? n("mbs", 1));
  const full = /full/.test(row["recompute"] ?? "");
  const answer = estimate(
    unwrap(
      readCase({
        model: row["model"],
        cluster: `h100-500w:${cards}`,
        engine: "torchtitan",
        layout: {
          tp,
          cp,
          pp,
          contextParallel: "ring",
          // Its operator-wise choice keeps every second product; the regions nearest to that.
          recompute: full ? "full" : ["norm", "mlp"],
        },
        // A pipeline cuts the local batch into as many micro-batches as it has ranks.
        training: {
          sequence: n("seq", 8192),
          microBatch: local / pp,
          globalBatch: local * data,
          precision: "bf16-fsdp",
        },
        traits: {
          ...(/FP8/.test(row["precision"] ?? "") ? { compute: "fp8" } : {}),
          ...(/AsyncTP/.test(row["notes"] ?? "") ? { overlapTensor: 0.8 } : {}),
        },
      }),
    ),
  );
  const memory = answer.peak.reserved / GiB / value("peak_memory") - 1;
  const time = value("tokens_per_s_per_gpu") / answer.time.tokensPerSecondPerDevice - 1;
  errors.memory.push(memory);
  errors.time.push(time);
  const name = `${row["model"]} ${cards} devices ${row["precision"]} seq ${row["seq"]} cp${cp} pp${pp} (${row["notes"]})`;
  console.log(
    `${name.slice(0, 84).padEnd(84)} memory ${percent(memory, 1).padStart(8)}  time ${percent(time, 1).padStart(8)}`,
  );
}
for (const [what, list] of Object.entries(errors)) {
  const mean = (of: (e: number) => number) => list.reduce((sum, e) => sum + of(e), 0) / list.length;
  const worst = list.reduce((a, e) => (Math.abs(e) > Math.abs(a) ? e : a), 0);
  console.log(
    `${what}: ${list.length} rows, mean ${percent(mean(Math.abs), 1).slice(1)}, worst ${percent(worst, 1)}, bias ${percent(
      mean((e) => e),
      1,
    )}`,
  );
}
