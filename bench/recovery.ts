/**
 * Kills ranks, the agent and the controller with -9 at seeded random moments of real runs on four ranks, compares every checkpoint
 * with that of an undisturbed run (weights, optimizer, random state, data cursor, file by file), and that no step was trained on
 * other rows than its own, twice in one attempt, or not at all. Prints the seconds from a kill to the first new step.
 *
 *   node bench/recovery.ts [--kills 50] [--round 10] [--steps 80] [--seed 1] [--targets rank,agent,controller]
 *                          [--out FILE] [--rounds N]
 *
 * `--round` kills fall on one run. With `--out` every round is kept in FILE, what is there counts, and the rest is run: at most
 * `--rounds` of it now. One process of this file is the bench; `--controller FOLDER RUN` makes it the controller that is killed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Random } from "../src/base/index.ts";
import {
  type AgentFile,
  Controller,
  isAlive,
  listCheckpoints,
  paths,
  readJournal,
  readLastStep,
  readTelemetry,
  replay,
} from "../src/run/index.ts";
import { benchRun, median, python, recipeIn } from "./runs.ts";

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
checkpoint: { every: 5, keep: 1000 }
watch: { restarts: 1000, totalRestarts: 1000 }
`;

async function control(folder: string, run: string): Promise<void> {
  const controller = Controller.open(benchRun(run, recipeIn(join(folder, "recipe.yaml"))));
  const end = await controller.run();
  if (end.error) console.error(end.error);
  process.exitCode = end.outcome === "done" ? 0 : 1;
}

const agentFile = (run: string) => JSON.parse(readFileSync(paths(run).agentFile("0"), "utf8")) as AgentFile;
const attemptOf = (run: string) => replay(readJournal(run)).attempt;

/** What each checkpoint of a run holds, by step: data cursor, and every file with its checksum. */
const checkpointsOf = (run: string): Record<number, string> =>
  Object.fromEntries(
    listCheckpoints(paths(run).checkpoints).map(({ step, path }) => {
      const manifest = JSON.parse(readFileSync(join(path, "manifest.json"), "utf8")) as {
        cursor: number;
        files: { name: string; sha256: string }[];
      };
      return [step, JSON.stringify([manifest.cursor, manifest.files.map((one) => [one.name, one.sha256])])];
    }),
  );

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

/** Each step of an attempt once and on its own rows, and of the steps that count none left out. */
function wholeStory(run: string, steps: number): boolean {
  const told = readTelemetry(paths(run).series).filter((one) => one.kind === "step" && one.rank === 0);
  const once = new Set(told.map((one) => `${one.attempt}/${one.step}`)).size === told.length;
  const own = told.every((one) => one["cursor"] === one.step);
  return once && own && new Set(told.map((one) => one.step)).size === steps;
}

type Round = {
  readonly round: number;
  readonly kills: readonly {
    readonly target: Target;
    readonly step: number;
    readonly seconds: number | null;
  }[];
  /** Checkpoints like those of the undisturbed run, of all that both have; and is the story of the steps whole? */
  readonly same: number;
  readonly checkpoints: number;
  readonly whole: boolean;
};
/** The undisturbed run, with what it was asked: the first line of a file of results; rounds follow. */
type Reference = {
  readonly key: string;
  readonly reference: Record<number, string>;
  readonly stepSeconds: number;
};

async function oneRound(
  folder: string,
  round: number,
  ask: { kills: number; steps: number; seed: number; targets: readonly Target[] },
  wanted: Record<number, string>,
): Promise<Round> {
  const run = join(folder, `round-${round}`);
  const random = new Random(ask.seed * 1000 + round);
  const done = await disturbed(folder, run, ask.kills, random, ask.targets);
  const found = checkpointsOf(run);
  const steps = Object.keys(wanted).map(Number);
  const kills = done.map((kill) => ({
    target: kill.target,
    step: kill.step,
    seconds: recoverySeconds(run, kill) ?? null,
  }));
  return {
    round,
    kills,
    same: steps.filter((step) => found[step] === wanted[step]).length,
    checkpoints: steps.length,
    whole: wholeStory(run, ask.steps),
  };
}

function table(rounds: readonly Round[], targets: readonly Target[]): void {
  console.log("target      kills  median s   max s");
  const all = rounds.flatMap((one) => one.kills);
  for (const target of [...targets, "all"] as const) {
    const list = all.flatMap((one) =>
      (target === "all" || one.target === target) && one.seconds !== null ? [one.seconds] : [],
    );
    const count = all.filter((one) => target === "all" || one.target === target).length;
    const figures = [median(list), Math.max(...list)].map((one) => one.toFixed(2).padStart(8));
    console.log(`${target.padEnd(10)}  ${String(count).padStart(5)}  ${figures.join("")}`);
  }
}

async function bench(): Promise<void> {
  const { values } = parseArgs({
    options: {
      kills: { type: "string", default: "50" },
      round: { type: "string", default: "10" },
      rounds: { type: "string", default: "1000" },
      steps: { type: "string", default: "80" },
      seed: { type: "string", default: "1" },
      targets: { type: "string", default: TARGETS.join(",") },
      out: { type: "string" },
    },
  });
  const targets = values.targets.split(",") as Target[];
  const [kills, round, steps, seed] = [values.kills, values.round, values.steps, values.seed].map(Number) as [
    number,
    number,
    number,
    number,
  ];
  const key = JSON.stringify({ round, steps, seed, targets });
  const folder = mkdtempSync(join(tmpdir(), "tessera-recovery-"));
  try {
    makeModel(folder, steps);
    const lines = values.out !== undefined && existsSync(values.out) ? readLines(values.out) : [];
    let [saved] = lines.filter((one) => one.key === key) as Reference[];
    const keep = (line: unknown) => values.out && appendFileSync(values.out, `${JSON.stringify(line)}\n`);
    if (!saved) {
      const quiet = join(folder, "quiet");
      await disturbed(folder, quiet, 0, new Random(seed), targets);
      const took = readTelemetry(paths(quiet).series).filter((one) => one.kind === "step" && one.rank === 0);
      const stepSeconds = median(took.map((one) => Number(one["seconds"])));
      saved = { key, reference: checkpointsOf(quiet), stepSeconds };
      keep(saved);
    }
    const rounds = lines.filter((one) => one["of"] === key) as unknown as Round[];
    for (let more = 0; more < Number(values.rounds) && rounds.length * round < kills; more++) {
      const ask = { kills: Math.min(round, kills - rounds.length * round), steps, seed, targets };
      const one = await oneRound(folder, rounds.length, ask, saved.reference);
      keep({ of: key, ...one });
      rounds.push(one);
      for (const { target, step, seconds } of one.kills) {
        const after = seconds === null ? "(last step)" : `${seconds.toFixed(2)} s`;
        console.log(`round ${one.round}  ${target.padEnd(10)}  step ${String(step).padStart(4)}  ${after}`);
      }
      console.log(
        `round ${one.round}: ${one.same} of ${one.checkpoints} checkpoints bit-identical, steps ${one.whole ? "whole" : "NOT WHOLE"}`,
      );
    }
    const done = rounds.reduce((sum, one) => sum + one.kills.length, 0);
    const good = rounds.filter((one) => one.same === one.checkpoints && one.whole);
    console.log(`\nundisturbed step: median ${saved.stepSeconds.toFixed(3)} s`);
    table(rounds, targets);
    console.log(
      `${good.reduce((sum, one) => sum + one.kills.length, 0)} of ${done} kills healed with every checkpoint bit-identical (weights, optimizer, random state, data cursor) and no step lost or trained twice`,
    );
    console.log(`machine: ${cpus().length} x ${cpus()[0]?.model}, load ${loadavg()[0]?.toFixed(1)}`);
    if (good.length < rounds.length) process.exitCode = 1;
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

const readLines = (file: string) =>
  readFileSync(file, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);

function makeModel(folder: string, steps: number): void {
  python(join(import.meta.dirname, "../tests/fixtures/tiny_model.py"), folder);
  writeFileSync(join(folder, "recipe.yaml"), recipe(steps, 17));
}

const at = process.argv.indexOf("--controller");
if (at > 0) await control(process.argv[at + 1] as string, process.argv[at + 2] as string);
else await bench();
