/**
 * Figure 7, the part without an engine: one process digests the loads of 10,240 ranks. Each rank reports the tokens it sent to every
 * expert of its stage's layers, as wire lines (JSON with base64 int32), as agents forward them.
 *   node bench/experts/monitor.ts [--ranks 10240] [--stages 8] [--steps 3]
 */
import { makeShape, LoadMonitor, makeUpLoads, startPlacement } from "../../src/experts/index.ts";
import { unwrap } from "../../src/base/index.ts";
import { machine, option, verdict } from "./shared.ts";

const ranks = Number(option("ranks") ?? 10_240);
const stages = Number(option("stages") ?? 8);
const steps = Number(option("steps") ?? 3);
const layers = 61;
const experts = 384;
const loads = makeUpLoads(layers, experts, { kind: "lognormal", cv: 0.7 }, 1, 24_576 * 64);
const shape = unwrap(makeShape({ experts, ranks: 64, slots: 448, nodes: 8 }));
const monitor = new LoadMonitor(startPlacement(loads.ids, shape));
const stageOf = (l: number) => Math.min(stages - 1, Math.floor((l * stages) / layers));
const lines = Array.from({ length: stages }, (_, stage) => {
  const ids = loads.ids.filter((l) => stageOf(l) === stage);
  const counts = Int32Array.from(
    ids.flatMap((l) => Array.from(loads.values.subarray(l * experts, (l + 1) * experts))),
    (w) => Math.round(w / 64),
  );
  const b64 = Buffer.from(counts.buffer).toString("base64");
  const body = { v: 1, kind: "load", run: "bench", rank: 0, step: 0, t: 0, layers: ids };
  return JSON.stringify({ ...body, counts: { dtype: "int32", shape: [ids.length, experts], b64 } });
});
console.log(`figure 7: monitor, ${ranks} ranks, ${stages} stages, ${layers} x ${experts}; ${machine()}`);
for (let step = 0; step < steps; step++) {
  const cpu = process.cpuUsage();
  const clock = performance.now();
  let bytes = 0;
  for (let rank = 0; rank < ranks; rank++) {
    const text = lines[rank % stages] as string;
    bytes += text.length;
    const message = JSON.parse(text) as { layers: number[]; counts: { b64: string } };
    const raw = Buffer.from(message.counts.b64, "base64");
    monitor.add(message.layers, new Int32Array(raw.buffer, raw.byteOffset, raw.length / 4));
  }
  const added = performance.now() - clock;
  const digest = monitor.close(step);
  const wall = performance.now() - clock;
  const used = process.cpuUsage(cpu);
  const worst = digest.layers.reduce((a, b) => (b.realised > a.realised ? b : a));
  console.log(
    `step ${step}: ${digest.reports} reports, ${(bytes / 2 ** 20).toFixed(0)} MiB of wire in ${(wall / 1000).toFixed(2)} s (${((used.user + used.system) / 1e6).toFixed(2)} s of processor; digest ${(wall - added).toFixed(0)} ms); worst layer ${worst.layer}: ${worst.realised.toFixed(3)} of bound ${worst.bound.toFixed(3)}`,
  );
  if (step === steps - 1) {
    const seconds = (used.user + used.system) / 1e6;
    verdict(
      `a step of ${ranks} ranks digested within a 5 s step (${seconds.toFixed(2)} s of one processor)`,
      seconds <= 5,
    );
  }
}
