/**
 * Live balancing on real runs: step time with it on against off, interleaved, on a model whose router prefers some experts, and what
 * the forecast said against what came. Once balanced, nothing may move any more. Then a run whose ranks are killed with -9 in the middle of moves, which must end with the
 * same bits.
 *
 *   node bench/experts/live.ts [--pairs 2] [--steps 64] [--skew 1] [--experts 16] [--width 512] [--hidden 128]
 *     [--kills 3] [--folder DIR]
 *
 * Routing is real in all of them. With `--folder` runs are kept, and one that is done is not run again. Prints the machine and its load: ranks share the cores with whatever else runs.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Random, unwrap } from "../../src/base/index.ts";
import {
  type AgentFile,
  Controller,
  engineEnv,
  enginePython,
  engineZygote,
  type JournalEvent,
  type LoadedRecipe,
  loadRecipe,
  localLauncher,
  listCheckpoints,
  paths,
  readJournal,
  readTelemetry,
} from "../../src/run/index.ts";
import { nightWatch } from "../../src/watch/index.ts";
import { logicalState } from "../../tests/fixtures/logical.ts";

const { values } = parseArgs({
  options: {
    pairs: { type: "string", default: "2" },
    steps: { type: "string", default: "40" },
    skew: { type: "string", default: "3" },
    experts: { type: "string", default: "8" },
    width: { type: "string", default: "384" },
    hidden: { type: "string", default: "128" },
    ranks: { type: "string", default: "2" },
    rows: { type: "string", default: "8" },
    top: { type: "string", default: "2" },
    seed: { type: "string", default: "3" },
    every: { type: "string", default: "12" },
    kills: { type: "string", default: "3" },
    folder: { type: "string" },
  },
});

const recipe = (mode: string) => `name: live
model: { base: base }
data: { packed: train.safetensors }
stages: [{ kind: cpt, steps: ${values.steps} }]
batch: { sequenceLength: 128, microBatch: ${values.rows}, globalBatch: ${Number(values.rows) * Number(values.ranks)} }
optimizer: { learningRate: 0.0003 }
moe: { biasRate: 0, sequenceBalanceLoss: 0 }
layout: { dpShard: ${values.ranks}, ep: ${values.ranks} }
balance: { mode: ${mode}, every: ${values.every}, window: 12 }
checkpoint: { every: 16 }
`;

type Seen = {
  readonly seconds: readonly number[];
  /** Processor seconds of the rank that used most in each step: what the step would take if ranks had their cores to themselves. */
  readonly slowest: readonly number[];
  readonly events: readonly JournalEvent[];
  readonly result: string;
};

async function run(folder: string, name: string, mode: string, kills = 0): Promise<Seen> {
  writeFileSync(join(folder, "recipe.yaml"), recipe(mode));
  const loaded = loadRecipe(join(folder, "recipe.yaml"));
  if (!loaded.ok) throw loaded.error[0];
  const place = join(folder, "runs", name);
  const done = readJournal(place).some((event) => event.kind === "ended" && event.outcome === "done");
  if (!done) await train(place, name, loaded.value, kills);
  return read(place);
}

async function train(place: string, name: string, loaded: LoadedRecipe, kills: number): Promise<void> {
  const random = new Random(7);
  let left = kills;
  const end = await Controller.open({
    folder: place,
    id: name,
    loaded,
    version: "bench",
    phases: {},
    launcher: (world) => localLauncher([{ agent: "0", ranks: world }]),
    watch: nightWatch,
    zygote: () => engineZygote(process.env),
    env: process.env,
    onProgress: () => undefined,
    onEvent: (event) => {
      if (event.kind !== "balance" || event.action !== "act" || left === 0) return;
      left--;
      const agent = JSON.parse(readFileSync(paths(place).agentFile("0"), "utf8")) as AgentFile;
      const { pid } = random.pick(agent.ranks);
      // From before the command is heard to the middle of the move.
      setTimeout(() => process.kill(pid, "SIGKILL"), random.int(0, 150));
    },
  }).run();
  if (end.error) throw end.error;
}

function read(place: string): Seen {
  const steps = readTelemetry(paths(place).series).filter((one) => one.kind === "step" && one.rank === 0);
  const last = listCheckpoints(paths(place).checkpoints).at(-1);
  // The last time that a step was trained is the one that counts.
  const losses = [...new Map(steps.map((one) => [one.step, [one["loss"], one["gradNorm"]]]))];
  const result = JSON.stringify([losses, logicalState(last?.path ?? "")]);
  return {
    slowest: slowestRank(place),
    seconds: steps.map((one) => Number(one["seconds"])),
    events: readJournal(place),
    result,
  };
}

const median = (list: readonly number[]): number => {
  const sorted = list.toSorted((a, b) => a - b);
  return ((sorted[(sorted.length - 1) >> 1] as number) + (sorted[sorted.length >> 1] as number)) / 2;
};

function slowestRank(place: string): number[] {
  const used = new Map<number, Map<number, number>>();
  for (const one of readTelemetry(paths(place).series)) {
    if (one.kind !== "step") continue;
    const ranks = used.get(one.step) ?? new Map<number, number>();
    used.set(one.step, ranks.set(one.rank, Number(one["processorSeconds"])));
  }
  return Array.from({ length: used.size }, (_, i) => {
    const now = used.get(i + 1) ?? new Map<number, number>();
    return Math.max(...[...now].map(([rank, seconds]) => seconds - (used.get(i)?.get(rank) ?? Number.NaN)));
  });
}

function makeModel(folder: string, skew: string): void {
  const args = ["--hidden", values.hidden, "--width", values.width, "--experts", values.experts];
  const more = [
    "--top",
    values.top,
    "--layers",
    "2",
    "--seed",
    values.seed,
    "--skew",
    skew,
    "--rows",
    "2048",
    "--length",
    "128",
  ];
  const made = spawnSync(
    unwrap(enginePython(process.env)),
    [join(import.meta.dirname, "skewed_model.py"), folder, ...args, ...more],
    { env: { ...process.env, ...engineEnv(process.env) }, encoding: "utf8" },
  );
  if (made.status !== 0) throw new Error(made.stderr);
}

const folder = values.folder ?? mkdtempSync(join(tmpdir(), "tessera-live-"));
try {
  console.log(
    `${cpus().length} cores (${cpus()[0]?.model ?? "?"}), load ${loadavg()[0]?.toFixed(1)}, ${values.ranks} ranks`,
  );
  if (!existsSync(join(folder, "train.safetensors"))) makeModel(folder, values.skew);
  const off: number[] = [];
  const on: number[] = [];
  const offUsed: number[] = [];
  const onUsed: number[] = [];
  let same = 0;
  for (let pair = 0; pair < Number(values.pairs); pair++) {
    const without = await run(folder, `off-${pair}`, "off");
    const balanced = await run(folder, `on-${pair}`, "on");
    const moved = balanced.events.findLast((event) => event.kind === "relocated");
    const first = moved?.kind === "relocated" ? moved.step + 1 : 20;
    // The same steps of both, those after the last move, so that both have the same tokens.
    off.push(median(without.seconds.slice(first)));
    on.push(median(balanced.seconds.slice(first)));
    offUsed.push(median(without.slowest.slice(first)));
    onUsed.push(median(balanced.slowest.slice(first)));
    same += Number(without.result === balanced.result);
    for (const event of balanced.events) {
      if (event.kind === "balance") console.log(`  step ${event.step}: ${event.line.en}`);
      if (event.kind === "relocated")
        console.log(
          `  moved: ok ${event.ok}, ${(event.bytes / 1e6).toFixed(1)} MB in ${(event.seconds * 1000).toFixed(0)} ms`,
        );
      if (event.kind === "balanceGain") report(event, balanced.events);
    }
    const saved = median(
      without.slowest.slice(first).map((used, i) => used - (balanced.slowest[first + i] as number)),
    );
    const acts = balanced.events.flatMap((event) =>
      event.kind === "balance" && event.action === "act" ? [event.forecast.savedSecondsPerStep] : [],
    );
    const said = acts.reduce((sum, one) => sum + one, 0);
    console.log(
      `  ${acts.length} moves; forecast ${(said * 1000).toFixed(1)} ms a step, same steps of the run without: ${(saved * 1000).toFixed(1)} ms of the slowest rank (${((saved / said - 1) * 100).toFixed(0)} %)`,
    );
    console.log(
      `pair ${pair}: off ${(1000 * (off.at(-1) as number)).toFixed(1)} ms, on ${(1000 * (on.at(-1) as number)).toFixed(1)} ms a step; slowest rank's processor time ${(1000 * (offUsed.at(-1) as number)).toFixed(1)}, ${(1000 * (onUsed.at(-1) as number)).toFixed(1)} ms`,
    );
  }
  console.log(
    `speed-up ${(median(off) / median(on)).toFixed(3)} by the clock, ${(median(offUsed) / median(onUsed)).toFixed(3)} by the slowest rank's processor time (medians of ${values.pairs} pairs); losses, norms, weights and optimizer bit-identical in ${same} of ${values.pairs}`,
  );
  if (Number(values.kills) > 0 && off.length > 0) {
    const still = await run(folder, "off-0", "off");
    const killed = await run(folder, "killed", "on", Number(values.kills));
    const ends = killed.events.flatMap((event) => (event.kind === "relocated" ? [event] : []));
    const healed = killed.events.filter((event) => event.kind === "recovered").length;
    console.log(
      `kill -9 at moves: ${healed} healed; ${ends.length} moves told, ${ends.filter((one) => one.ok).length} done, ${ends.filter((one) => !one.ok).length} cut off by a kill; bit-identical: ${killed.result === still.result}`,
    );
  }
} finally {
  if (!values.folder) rmSync(folder, { recursive: true, force: true });
}

function report(gain: Extract<JournalEvent, { kind: "balanceGain" }>, events: readonly JournalEvent[]): void {
  const asked = events.find((one) => one.kind === "balance" && one.id === gain.id);
  if (asked?.kind !== "balance") return;
  const { forecast } = asked;
  const share = (came: number, said: number) => `${((came / said - 1) * 100).toFixed(0)} %`;
  console.log(
    `  gain: forecast ${(forecast.savedSecondsPerStep * 1000).toFixed(1)} ms, came ${(gain.savedSecondsPerStep * 1000).toFixed(1)} ms a step (${share(gain.savedSecondsPerStep, forecast.savedSecondsPerStep)}); move ${(forecast.moveSeconds * 1000).toFixed(0)} -> ${(gain.moveSeconds * 1000).toFixed(0)} ms; payback ${forecast.paybackSteps?.toFixed(2)} -> ${gain.paybackSteps?.toFixed(2) ?? "never"} steps; busiest ${gain.before.slowest.toFixed(3)} -> ${gain.after.slowest.toFixed(3)}`,
  );
}
