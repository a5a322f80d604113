/**
 * Step time of our engine on this machine, predicted from a measured device profile, against real gloo ranks.
 *
 *   node bench/layout/calibrated.ts [--profile FILE] [--minutes 3] [--steps 12] [--layouts 7] [--model examples/base/model]
 *
 * Without --profile, `tessera calibrate` measures this machine first. Predictions are made before the first step runs.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { parse } from "yaml";
import { unwrap } from "../../src/base/index.ts";
import { parseProfile, profileMachine, withProfile } from "../../src/cluster/index.ts";
import {
  engineTraits,
  evenStages,
  FLOAT32,
  type Layout,
  layoutName,
  SINGLE,
  TimeModel,
  type Training,
  worldOf,
} from "../../src/layout/index.ts";
import { importModel } from "../../src/model/index.ts";
import { machine, percent } from "./shared.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const { values } = parseArgs({
  options: {
    profile: { type: "string" },
    minutes: { type: "string", default: "3" },
    steps: { type: "string", default: "12" },
    layouts: { type: "string", default: "7" },
    model: { type: "string", default: join(ROOT, "examples/base/model") },
  },
});

/** The quick start's layout first, then what else four ranks, two and one can do with it. */
const LAYOUTS: readonly (Partial<Layout> & { readonly globalBatch: number })[] = [
  { pp: 2, dpShard: 2, ep: 2, globalBatch: 16 },
  { pp: 1, dpShard: 4, ep: 4, globalBatch: 16 },
  { pp: 4, globalBatch: 16 },
  { pp: 2, globalBatch: 16 },
  { pp: 1, dpShard: 2, ep: 2, globalBatch: 16 },
  { pp: 1, globalBatch: 8 },
  { pp: 2, dpShard: 2, ep: 2, globalBatch: 16, recompute: { kind: "full" } },
];
const SEQUENCE = 256;
const MICRO_BATCH = 4;

const work = mkdtempSync(join(tmpdir(), "tessera-calibrated-"));
const file = values.profile ?? join(work, "profile.json");
if (values.profile === undefined) {
  const args = [
    "calibrate",
    "--model",
    values.model,
    "--minutes",
    values.minutes,
    "--out",
    file,
    "--work",
    work,
  ];
  const done = spawnSync(process.execPath, [join(ROOT, "bin/tessera.mjs"), ...args], { stdio: "inherit" });
  if (done.status !== 0) process.exit(done.status ?? 1);
}
const profile = unwrap(parseProfile(parse(readFileSync(file, "utf8")), file));
rmSync(work, { recursive: true, force: true });

const config = JSON.parse(readFileSync(join(values.model, "config.json"), "utf8")) as Record<string, unknown>;
const model = unwrap(importModel(config));
const cases = LAYOUTS.slice(0, Number(values.layouts)).map(({ globalBatch, ...shape }) => {
  const degrees = { ...SINGLE, ...shape };
  const layout: Layout = {
    ...degrees,
    zero: 3,
    reshardAfterForward: degrees.pp === 1,
    stages: evenStages(model.layers.length, degrees.pp),
  };
  const training: Training = {
    sequence: SEQUENCE,
    microBatch: MICRO_BATCH,
    globalBatch,
    precision: FLOAT32,
    optimizer: "adamw",
    mtp: model.mtp.length > 0,
  };
  const cluster = unwrap(withProfile(profileMachine({ ...profile, ranks: worldOf(layout) }), profile));
  const time = new TimeModel(model, cluster, training, engineTraits("tessera", training)).step(layout, true);
  const { pp, dpShard, ep, stages, recompute } = layout;
  const spec = {
    seed: 3,
    layout: { pp, dpShard, ep, stages, recompute: recompute.kind },
    moe: { biasRate: 0.001, sequenceBalanceLoss: 0.0001 },
    mtp: { lossWeight: 0.3 },
    indexer: { lossWeight: 0.01 },
    batch: { sequenceLength: SEQUENCE, microBatch: MICRO_BATCH, globalBatch },
    optimizer: { learningRate: 0.001, weightDecay: 0.1 },
  };
  return { name: `${layoutName(layout, MICRO_BATCH)}, batch ${globalBatch}`, layout, time, spec };
});

console.log(
  `${machine()}, ${availableParallelism()} cores, load ${loadavg()[0]?.toFixed(1)}; profile of ${profile.made}, ${profile.points.length} points`,
);
const median = (numbers: readonly number[]): number =>
  [...numbers].sort((x, y) => x - y)[Math.floor(numbers.length / 2)] ?? Number.NaN;
type Rank = { error?: string; seconds?: number[]; work?: number[] };
const text = readFileSync(join(values.model, "config.json"), "utf8");
const errors: number[] = [];
for (const { name, layout, time, spec } of cases) {
  const ran = spawnSync(join(ROOT, ".venv/bin/python"), [join(import.meta.dirname, "engine_dump.py")], {
    // The model's text goes through as it is: its classes tell 10.0 from 10.
    input: `[{"config": ${text}, "spec": ${JSON.stringify(spec)}, "steps": ${Number(values.steps)}}]`,
    env: { ...process.env, PYTHONPATH: join(ROOT, "engine"), OMP_NUM_THREADS: "1", HF_HUB_OFFLINE: "1" },
    encoding: "utf8",
    timeout: 180_000,
  });
  if (ran.status !== 0) throw new Error(ran.stderr.split("\n").slice(-5).join("\n"));
  const [ranks] = JSON.parse(ran.stdout) as Rank[][];
  const broken = ranks?.find((rank) => rank.error);
  if (!ranks || broken) throw new Error(broken?.error ?? "no ranks");
  // The first two steps allocate and warm caches. A step ends when its last rank has it.
  const over = (of: (numbers: number[]) => number, key: "seconds" | "work") =>
    (ranks[0]?.[key] ?? []).map((_, i) => of(ranks.map((rank) => rank[key]?.[i] ?? 0))).slice(2);
  const steps = over((numbers) => Math.max(...numbers), "seconds").sort((x, y) => x - y);
  const work = median(over((numbers) => numbers.reduce((sum, n) => sum + n, 0), "work"));
  const error = time.seconds / median(steps) - 1;
  errors.push(error);
  const range = `${steps[0]?.toFixed(3)} to ${steps.at(-1)?.toFixed(3)}`;
  const busy = work / Math.min(availableParallelism(), worldOf(layout));
  console.log(
    `${name} on ${worldOf(layout)} ranks: predicted ${time.seconds.toFixed(3)} s, measured ${median(steps).toFixed(3)} s (${range}; processor time over cores ${busy.toFixed(3)}), ${percent(error, 1)}`,
  );
}
const mean = errors.reduce((sum, e) => sum + Math.abs(e), 0) / errors.length;
console.log(
  `quick start ${percent(errors[0] as number, 1)}; all ${errors.length}: mean absolute error ${percent(mean, 1)}, worst ${percent(Math.max(...errors.map(Math.abs)), 1)}`,
);
