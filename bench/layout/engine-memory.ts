/**
 * Our engine's memory and shards, predicted against real gloo ranks: weights, gradients, optimizer state and buffers of
 * every rank to the byte, the blocks of every tensor, and on every rank the tensors that the forward of a micro-batch leaves
 * for its backward (given how many pairs its experts got, which is up to the router).
 *
 *   node bench/layout/engine-memory.ts [--engine path/to/engine] [--only v4] [--verbose]
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { memoryOf, type RankClass, savedForBackward } from "../../src/layout/memory/index.ts";
import { pieceMap } from "../../src/layout/pieces/index.ts";
import { type EngineCase, engineCases } from "./engine-cases.ts";
import { percent } from "./shared.ts";

/** How far the saved tensors of a stage may lie from the prediction. */
const SAVED_WITHIN = 0.02;
const ROOT = resolve(import.meta.dirname, "../..");
const { values } = parseArgs({
  options: { engine: { type: "string" }, only: { type: "string" }, verbose: { type: "boolean" } },
});
const engine = resolve(values.engine ?? `${ROOT}/engine`);
const python = `${ROOT}/.venv/bin/python`;
if (!existsSync(`${engine}/tessera_engine/engine.py`) || !existsSync(python)) {
  console.error(`needs ${python} and the engine in ${engine}: run \`npm run check\` once, or give --engine`);
  process.exit(3);
}

type Rank = {
  error?: string;
  memory: Record<string, number>;
  blocks: Record<string, [number[], number[]][]>;
  /** By virtual stage: bytes kept, pairs computed here, pairs sent from here. */
  saved: Record<string, [number, number, number]>;
};

const cases = engineCases().filter((c) => values.only === undefined || c.name.startsWith(values.only));
const ran = spawnSync(python, [`${import.meta.dirname}/engine_dump.py`], {
  input: JSON.stringify(cases.map((c) => c.input)),
  env: { ...process.env, PYTHONPATH: engine, OMP_NUM_THREADS: "1", HF_HUB_OFFLINE: "1" },
  maxBuffer: 1 << 28,
  encoding: "utf8",
});
if (ran.status !== 0) {
  console.error(ran.stderr.split("\n").slice(-20).join("\n"));
  process.exit(1);
}
const measured = JSON.parse(ran.stdout) as Rank[][];

let exact = 0;
let ranks = 0;
const saved = new Map<string, number[]>();
cases.forEach((c, i) => compare(c, measured[i] as Rank[]));

function compare(c: EngineCase, all: Rank[]): void {
  const report = memoryOf(c.model, c.layout, c.training, { engine: "tessera" });
  const map = pieceMap(c.model, c.layout, c.training, { engine: "tessera" });
  const wrong: string[] = [];
  all.forEach((real, rank) => {
    ranks++;
    if (real.error !== undefined) {
      wrong.push(real.error);
      return;
    }
    const { bytes } = (report.classes[report.classOf[rank] as number] as RankClass).memory;
    const before = wrong.length;
    for (const category of ["weights", "gradients", "optimizer"] as const) {
      if (bytes[category] !== real.memory[category]) {
        wrong.push(`rank ${rank}: ${category} predicted ${bytes[category]}, real ${real.memory[category]}`);
      }
    }
    wrong.push(...blockProblems(real, map.of(rank)).map((text) => `rank ${rank}: ${text}`));
    if (wrong.length === before) exact++;
  });
  const errors = all
    .flatMap((real) => (real.error === undefined ? Object.entries(real.saved) : []))
    .map(([stage, [bytes, computed, sent]]) => {
      const load = sent > 0 ? computed / sent : 1;
      return savedForBackward(c.model, c.layout, c.training, Number(stage), load) / bytes - 1;
    });
  const group = `${c.kind}, recompute ${c.layout.recompute.kind}`;
  saved.set(group, [...(saved.get(group) ?? []), ...errors]);
  const far = errors.reduce((most, error) => (Math.abs(error) > Math.abs(most) ? error : most), 0);
  const kept = `; saved on ${errors.length} stages, farthest ${percent(far)}`;
  console.log(
    `${c.name}: ${wrong.length === 0 ? `${all.length} ranks equal to the byte` : "DIFFERS"}${kept}`,
  );
  for (const line of wrong.slice(0, values.verbose ? 100 : 3)) console.log(`   ${line}`);
}

function blockProblems(real: Rank, pieces: ReturnType<ReturnType<typeof pieceMap>["of"]>): string[] {
  const out: string[] = [];
  const mine = new Map(
    pieces
      .filter((p) => p.tensor.weight.trained)
      .map((p) => [p.tensor.name, p.weights.kind === "slices" ? p.weights.slices : []]),
  );
  for (const [name, blocks] of Object.entries(real.blocks)) {
    const want = blocks.map(([offset, size]) => ({ offset, size }));
    const have = mine.get(name) ?? [];
    mine.delete(name);
    if (JSON.stringify(want) !== JSON.stringify(have.map(({ offset, size }) => ({ offset, size })))) {
      out.push(`${name}: engine ${JSON.stringify(want)}, map ${JSON.stringify(have)}`);
    }
  }
  for (const name of mine.keys()) out.push(`${name}: in the map, not in the engine`);
  return out;
}

console.log(`\n${exact} of ${ranks} ranks equal to the byte, slices included`);
let within = 0;
let stages = 0;
for (const [group, errors] of saved) {
  const mean = errors.reduce((sum, e) => sum + Math.abs(e), 0) / errors.length;
  const worst = Math.max(...errors.map(Math.abs));
  stages += errors.length;
  within += errors.filter((e) => Math.abs(e) <= SAVED_WITHIN).length;
  console.log(`saved for backward, ${group}: mean absolute error ${percent(mean)}, worst ${percent(worst)}`);
}
console.log(`${within} of ${stages} stages save within ${percent(SAVED_WITHIN, 0)} of the prediction`);
if (exact !== ranks || within !== stages) process.exit(1);
