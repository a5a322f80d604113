/**
 * Kills ranks, the agent and the controller with -9 at seeded random moments of real runs, and compares what comes out with an
 * undisturbed run, file by file. Prints a table of recovery times (kill to the first new step).
 *
 *   node bench/recovery.ts [--rounds 5] [--kills 10] [--steps 80] [--seed 1] [--targets rank,agent,controller]
 *
 * One process of this file is the bench; `--controller FOLDER RUN` makes it the controller that is killed.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Random, unwrap } from "../src/base/index.ts";
import {
  type AgentFile,
  Controller,
  engineEnv,
  enginePython,
  engineZygote,
  isAlive,
  listCheckpoints,
  loadRecipe,
  localLauncher,
  paths,
  readJournal,
  readLastStep,
  readTelemetry,
  replay,
} from "../src/run/index.ts";
import { nightWatch } from "../src/watch/index.ts";

const TARGETS = ["rank", "agent", "controller"] as const;
type Target = (typeof TARGETS)[number];
type Kill = { readonly target: Target; readonly t: number; readonly attempt: number; readonly step: number };

const recipe = (steps: number, seed: number) => `name: bench
seed: ${seed}
model: { base: base }
data: { packed: train.safetensors }
stages: [{ kind: sft, steps: ${steps} }]
batch: { sequenceLength: 32, microBatch: 1, globalBatch: 8 }
optimizer: { learningRate: 0.001 }
layout: { pp: 2, dpShard: 2, ep: 2 }
checkpoint: { every: 5 }
`;

async function control(folder: string, run: string): Promise<void> {
  const loaded = loadRecipe(join(folder, "recipe.yaml"));
  if (!loaded.ok) throw loaded.error[0];
  const controller = Controller.open({
    folder: run,
    id: "bench",
    loaded: loaded.value,
    version: "bench",
    phases: {},
    launcher: (world) => localLauncher([{ agent: "0", ranks: world }]),
    watch: nightWatch,
    zygote: () => engineZygote(process.env),
    env: process.env,
    onProgress: () => undefined,
  });
  const end = await controller.run();
  if (end.error) console.error(end.error);
  process.exitCode = end.outcome === "done" ? 0 : 1;
}

const agentFile = (run: string) => JSON.parse(readFileSync(paths(run).agentFile("0"), "utf8")) as AgentFile;
const attemptOf = (run: string) => replay(readJournal(run)).attempt;

/** Files of the newest checkpoint with their checksums: weights, optimizer state, random state. */
function stateOf(run: string): { step: number; files: string } {
  const last = listCheckpoints(paths(run).checkpoints).at(-1);
  if (!last) throw new Error("no checkpoint");
  const manifest = JSON.parse(readFileSync(join(last.path, "manifest.json"), "utf8")) as {
    cursor: number;
    files: { name: string; sha256: string }[];
  };
  return {
    step: last.step,
    files: JSON.stringify([manifest.cursor, manifest.files.map((one) => [one.name, one.sha256])]),
  };
}

/** Runs to the end with `kills` kills; each waits until a new step shows that the one before has healed. */
async function disturbed(
  folder: string,
  run: string,
  kills: number,
  random: Random,
  targets: readonly Target[],
): Promise<Kill[]> {
  const done: Kill[] = [];
  let ended: number | null | undefined;
  let child: ChildProcess | undefined;
  const start = () => {
    ended = undefined;
    const made = spawn(process.execPath, [import.meta.filename, "--controller", folder, run], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    child = made;
    made.on("exit", (code) => {
      if (child === made) ended = code;
    });
  };
  start();
  let from = { attempt: 1, step: 0, t: 0 };
  while (ended === undefined) {
    await sleep(20);
    const last = readLastStep(paths(run).series);
    const healed = last && last.t > from.t && last.attempt >= from.attempt && last.step > 0;
    if (!healed || done.length === kills) continue;
    // Anywhere in the next few steps, also in the middle of one, of a save or of a spawn.
    await sleep(random.int(0, 4 * Math.max(100, Math.round(last.seconds * 1000))));
    if (ended !== undefined) break;
    const target = random.pick(targets);
    const attempt = attemptOf(run);
    const step = readLastStep(paths(run).series)?.step ?? 0;
    const agent = agentFile(run);
    const pid =
      target === "controller" ? child?.pid : target === "agent" ? agent.pid : random.pick(agent.ranks).pid;
    const t = Date.now() / 1000;
    if (pid === undefined) continue;
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      continue;
    }
    done.push({ target, t, attempt, step });
    from = { attempt: target === "controller" ? attempt : attempt + 1, step, t };
    if (target === "controller") {
      child = undefined;
      start();
    }
  }
  while (isAlive(agentFile(run))) await sleep(20);
  if (ended !== 0) throw new Error(`the run in ${run} ended with ${ended}`);
  return done;
}

/** Seconds from a kill to the first step that is new; nothing when the run was over before another step. */
function recoverySeconds(run: string, kill: Kill): number | undefined {
  const first = readTelemetry(paths(run).series).find(
    (one) =>
      one.kind === "step" && one.t > kill.t && (kill.target === "controller" || one.attempt > kill.attempt),
  );
  return first && first.t - kill.t;
}

/** Steps that count: of each step the last time it was trained must follow the one before it without gap. */
function gapless(run: string, steps: number): boolean {
  const ranks = readTelemetry(paths(run).series).filter((one) => one.kind === "step" && one.rank === 0);
  const cursors = new Map(ranks.map((one) => [one.step, one["cursor"]]));
  return cursors.size === steps && [...cursors].every(([step, cursor]) => step === cursor);
}

const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted.length === 0
    ? Number.NaN
    : ((sorted[(sorted.length - 1) >> 1] as number) + (sorted[sorted.length >> 1] as number)) / 2;
};

async function bench(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "5" },
      kills: { type: "string", default: "10" },
      steps: { type: "string", default: "80" },
      seed: { type: "string", default: "1" },
      targets: { type: "string", default: TARGETS.join(",") },
    },
  });
  const steps = Number(values.steps);
  const targets = values.targets.split(",") as Target[];
  const random = new Random(Number(values.seed));
  const folder = mkdtempSync(join(tmpdir(), "tessera-recovery-"));
  try {
    const python = unwrap(enginePython(process.env));
    const made = spawnSync(python, [join(import.meta.dirname, "../tests/fixtures/tiny_model.py"), folder], {
      env: { ...process.env, ...engineEnv(process.env) },
      stdio: ["ignore", "ignore", "pipe"],
      encoding: "utf8",
    });
    if (made.status !== 0) throw new Error(made.stderr);
    writeFileSync(join(folder, "recipe.yaml"), recipe(steps, 17));
    const quiet = join(folder, "quiet");
    await disturbed(folder, quiet, 0, random, targets);
    const wanted = stateOf(quiet);
    const times = new Map<Target, number[]>();
    let identical = 0;
    let kills = 0;
    const rounds = Number(values.rounds);
    for (let round = 0; round < rounds; round++) {
      const run = join(folder, `round-${round}`);
      const done = await disturbed(folder, run, Number(values.kills), random, targets);
      const same = JSON.stringify(stateOf(run)) === JSON.stringify(wanted) && gapless(run, steps);
      identical += same ? 1 : 0;
      kills += done.length;
      for (const kill of done) {
        const seconds = recoverySeconds(run, kill);
        console.log(
          `round ${round}  ${kill.target.padEnd(10)}  step ${String(kill.step).padStart(4)}  ${seconds?.toFixed(2) ?? "(last step)"} s`,
        );
        if (seconds !== undefined) times.set(kill.target, [...(times.get(kill.target) ?? []), seconds]);
      }
      console.log(`round ${round}: ${done.length} kills, ${same ? "bit-identical" : "DIFFERENT"}`);
    }
    const step = readTelemetry(paths(quiet).series).filter((one) => one.kind === "step" && one.rank === 0);
    console.log(
      `\nundisturbed step: median ${median(step.map((one) => Number(one["seconds"]))).toFixed(3)} s`,
    );
    console.log("target      kills  median s   max s");
    for (const target of [...targets, "all"] as const) {
      const list = target === "all" ? [...times.values()].flat() : (times.get(target) ?? []);
      console.log(
        `${target.padEnd(10)}  ${String(list.length).padStart(5)}  ${median(list).toFixed(2).padStart(8)}  ${Math.max(
          ...list,
        )
          .toFixed(2)
          .padStart(6)}`,
      );
    }
    console.log(
      `${identical} of ${rounds} disturbed runs bit-identical after ${kills} kills (weights, optimizer, random state, data cursor)`,
    );
    console.log(`machine: ${cpus().length} x ${cpus()[0]?.model}, load ${loadavg()[0]?.toFixed(1)}`);
    if (identical !== rounds) process.exitCode = 1;
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

const at = process.argv.indexOf("--controller");
if (at > 0) await control(process.argv[at + 1] as string, process.argv[at + 2] as string);
else await bench();
