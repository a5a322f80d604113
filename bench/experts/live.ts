/**
 * Live balancing on real runs: step time with it on against off, in turns, on a model whose router prefers some experts, and what the
 * forecast of each move said against what came. Then a run whose ranks are killed with -9 in the middle of moves, which must end with
 * the same bits. Routing is real in all of them. With `--slow` rank 1 is stopped for half of every 20 ms by a signal, so that it has half
 * the speed of the other; the planner must see that and give it less. With `--balanced` the model's router is even from the start and the learning rate too low
 * to change that, and nothing may move.
 *
 *   node bench/experts/live.ts [--pairs 2] [--steps 40] [--skew 3] [--experts 8] [--width 384] [--hidden 128]
 *     [--kills 3] [--folder DIR] [--balanced] [--slow] [--overlap]
 *
 * With `--folder` runs are kept, and one that is done is not run again. Ranks share the cores with whatever else runs, so the saving is
 * also told by the processor time of the rank that used most: what the clock would show if ranks had cores to themselves.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Random } from "../../src/base/index.ts";
import {
  type AgentFile,
  Controller,
  type JournalEvent,
  listCheckpoints,
  paths,
  readJournal,
  readTelemetry,
} from "../../src/run/index.ts";
import { logicalState } from "../../tests/fixtures/logical.ts";
import { benchRun, median, python, recipeIn } from "../runs.ts";
import { machine, verdict } from "./shared.ts";

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
    overlap: { type: "boolean", default: false },
    slow: { type: "boolean", default: false },
    balanced: { type: "boolean", default: false },
  },
});

const recipe = (mode: string) => `name: live
model: { base: base }
data: { packed: train.safetensors }
stages: [{ kind: cpt, steps: ${values.steps} }]
batch: { sequenceLength: 128, microBatch: ${values.rows}, globalBatch: ${Number(values.rows) * Number(values.ranks)} }
optimizer: { learningRate: ${values.balanced ? 0.00001 : 0.0003} }
moe: { biasRate: ${values.balanced ? 0.001 : 0}, sequenceBalanceLoss: 0 }
layout: { dpShard: ${values.ranks}, ep: ${values.ranks} }
balance: { mode: ${mode}, every: ${values.every}, window: 12, overlap: ${values.overlap} }
checkpoint: { every: 16 }
`;

type Event<K extends JournalEvent["kind"]> = Extract<JournalEvent, { kind: K }>;
type Seen = {
  readonly seconds: readonly number[];
  /** Processor seconds of the rank that used most in each step. */
  readonly slowest: readonly number[];
  readonly events: readonly JournalEvent[];
  /** Losses and norms of the steps that count, and the last checkpoint. */
  readonly result: string;
};

async function run(folder: string, name: string, mode: string, kills = 0): Promise<Seen> {
  const place = join(folder, "runs", name);
  if (!readJournal(place).some((event) => event.kind === "ended" && event.outcome === "done")) {
    writeFileSync(join(folder, "recipe.yaml"), recipe(mode));
    await train(place, join(folder, "recipe.yaml"), kills);
  }
  return read(place);
}

async function train(place: string, file: string, kills: number): Promise<void> {
  const random = new Random(7);
  let left = kills;
  const release = values.slow ? slowDown(place) : () => undefined;
  const end = await Controller.open({
    ...benchRun(place, recipeIn(file)),
    onEvent: (event) => {
      if (event.kind !== "balance" || event.action !== "act" || left === 0) return;
      left--;
      const agent = JSON.parse(readFileSync(paths(place).agentFile("0"), "utf8")) as AgentFile;
      const { pid } = random.pick(agent.ranks);
      // From before the command is heard to the middle of the move.
      setTimeout(() => process.kill(pid, "SIGKILL"), random.int(0, 150));
    },
  }).run();
  release();
  if (end.error) throw end.error;
}

/** Stops and continues rank 1 in turns until it is told to leave it. A rank that is gone is not found, and nothing happens. */
function slowDown(place: string): () => void {
  let stopped = false;
  const signal = (name: "SIGSTOP" | "SIGCONT") => {
    try {
      const agent = JSON.parse(readFileSync(paths(place).agentFile("0"), "utf8")) as AgentFile;
      const pid = agent.ranks[1]?.pid;
      if (pid) process.kill(pid, name);
    } catch {
      // No agent yet, or no longer.
    }
  };
  const timer = setInterval(() => {
    stopped = !stopped;
    signal(stopped ? "SIGSTOP" : "SIGCONT");
  }, 10);
  return () => {
    clearInterval(timer);
    signal("SIGCONT");
  };
}

function read(place: string): Seen {
  const told = readTelemetry(paths(place).series).filter((one) => one.kind === "step");
  const steps = told.filter((one) => one.rank === 0);
  const last = listCheckpoints(paths(place).checkpoints).at(-1);
  // The last time that a step was trained is the one that counts.
  const losses = [...new Map(steps.map((one) => [one.step, [one["loss"], one["gradNorm"]]]))];
  const used = new Map(told.map((one) => [`${one.rank}/${one.step}`, Number(one["processorSeconds"])]));
  const usedIn = (rank: number, step: number) =>
    (used.get(`${rank}/${step}`) ?? Number.NaN) - (used.get(`${rank}/${step - 1}`) ?? Number.NaN);
  return {
    seconds: steps.map((one) => Number(one["seconds"])),
    slowest: losses.map(([step]) =>
      Math.max(...Array.from({ length: Number(values.ranks) }, (_, rank) => usedIn(rank, step))),
    ),
    events: readJournal(place),
    result: JSON.stringify([losses, logicalState(last?.path ?? "")]),
  };
}

const of = <K extends JournalEvent["kind"]>(seen: Seen, kind: K) =>
  seen.events.filter((event): event is Event<K> => event.kind === kind);
const ms = (seconds: number) => `${(1000 * seconds).toFixed(1)} ms`;
const off = (came: number, said: number) => `${((came / said - 1) * 100).toFixed(0)} %`;

/** A move's forecast with what came: in the run itself, and against the run without of the same steps. */
type Told = {
  readonly saved: readonly [said: number, came: number, against: number];
  readonly move: readonly [said: number, felt: number];
  readonly payback: readonly [said: number, came: number, against: number];
  readonly inRange: boolean;
};

/** Every move of a run that was measured. `without`: the same steps without moves. */
function movesOf(balanced: Seen, without: Seen): Told[] {
  const gains = of(balanced, "balanceGain");
  const fall = (from: number, to: number) =>
    median(without.slowest.slice(from, to).map((used, i) => used - (balanced.slowest[from + i] as number)));
  let before = 0;
  return gains.flatMap((gain, i) => {
    const asked = of(balanced, "balance").find((one) => one.id === gain.id);
    const moved = of(balanced, "relocated").find((one) => one.id === gain.id);
    if (!asked || !moved) return [];
    const until = of(balanced, "relocated")[i + 1]?.step ?? Number(values.steps);
    const sum = fall(moved.step + 1, until);
    const against = sum - before;
    before = sum;
    const { savedSecondsPerStep, moveSeconds, paybackSteps, paybackRange } = asked.forecast;
    const felt = gain.moveSeconds;
    const payback = felt / against;
    const [low, high] = paybackRange ?? [Number.NaN, Number.NaN];
    const inRange = low <= payback && payback <= high;
    const one: Told = {
      saved: [savedSecondsPerStep, gain.savedSecondsPerStep, against],
      move: [moveSeconds, felt],
      payback: [paybackSteps ?? Number.NaN, gain.paybackSteps ?? Number.POSITIVE_INFINITY, payback],
      inRange,
    };
    console.log(
      `  move ${gain.id}, busiest ${gain.before.slowest.toFixed(3)} -> ${gain.after.slowest.toFixed(3)}: saving forecast ${ms(one.saved[0])}, in the run ${ms(one.saved[1])} (${off(one.saved[1], one.saved[0])}), against the run without ${ms(against)} (${off(against, one.saved[0])}); move forecast ${ms(moveSeconds)}, felt ${ms(felt)} (${off(felt, moveSeconds)}); payback forecast ${one.payback[0].toFixed(2)} steps (${low.toFixed(2)} to ${high.toFixed(2)}), came ${one.payback[1].toFixed(2)} and ${payback.toFixed(2)}`,
    );
    return [one];
  });
}

function show(balanced: Seen): void {
  for (const event of balanced.events) {
    if (event.kind === "balance") {
      const { speeds } = event.cost;
      const seen = speeds ? ` (speeds ${speeds.map((one) => one.toFixed(2)).join(", ")})` : "";
      console.log(`  step ${event.step}: ${event.line.en}${seen}`);
    }
    if (event.kind === "relocated")
      console.log(`  moved: ok ${event.ok}, ${(event.bytes / 1e6).toFixed(1)} MB in ${ms(event.seconds)}`);
  }
}

async function skewed(folder: string): Promise<void> {
  const clock: number[] = [];
  const used: number[] = [];
  const firsts: Told[] = [];
  let same = 0;
  for (let pair = 0; pair < Number(values.pairs); pair++) {
    const without = await run(folder, `off-${pair}`, "off");
    const balanced = await run(folder, `on-${pair}`, "on");
    // The same steps of both, those after the last move, so that both have the same tokens.
    const first = (of(balanced, "relocated").at(-1)?.step ?? 19) + 1;
    const ratio = (kind: "seconds" | "slowest") =>
      median(without[kind].slice(first)) / median(balanced[kind].slice(first));
    clock.push(ratio("seconds"));
    used.push(ratio("slowest"));
    same += Number(without.result === balanced.result);
    show(balanced);
    firsts.push(...movesOf(balanced, without).slice(0, 1));
    console.log(
      `pair ${pair}: ${clock.at(-1)?.toFixed(3)} times faster by the clock, ${used.at(-1)?.toFixed(3)} by the slowest rank's processor time`,
    );
  }
  console.log(
    `speed-up ${median(clock).toFixed(3)} by the clock, ${median(used).toFixed(3)} by the slowest rank's processor time (medians of ${values.pairs} pairs); losses, norms, weights and optimizer bit-identical in ${same} of ${values.pairs}`,
  );
  const middle = (of: (one: Told) => number) => `${((median(firsts.map(of)) - 1) * 100).toFixed(0)} %`;
  console.log(
    `first moves, what came over the forecast, medians: saving ${middle((one) => one.saved[2] / one.saved[0])} (in the run itself ${middle((one) => one.saved[1] / one.saved[0])}), move ${middle((one) => one.move[1] / one.move[0])}, payback ${middle((one) => one.payback[2] / one.payback[0])} (${middle((one) => one.payback[1] / one.payback[0])}); ${firsts.filter((one) => one.inRange).length} of ${firsts.length} paybacks in their range`,
  );
  if (Number(values.kills) === 0 || clock.length === 0) return;
  const still = await run(folder, "off-0", "off");
  const killed = await run(folder, "killed", "on", Number(values.kills));
  const ends = of(killed, "relocated");
  console.log(
    `kill -9 at moves: ${of(killed, "recovered").length} healed; ${ends.length} moves told, ${ends.filter((one) => one.ok).length} done, ${ends.filter((one) => !one.ok).length} cut off by a kill; bit-identical: ${killed.result === still.result}`,
  );
}

async function balanced(folder: string): Promise<void> {
  const moves: number[] = [];
  for (let i = 0; i < Number(values.pairs); i++) {
    const seen = await run(folder, `even-${i}`, "on");
    show(seen);
    moves.push(of(seen, "balance").filter((event) => event.action === "act").length);
  }
  verdict(
    `no move on a balanced run (${moves.join(", ")} in ${values.steps} steps each)`,
    moves.every((n) => n === 0),
  );
}

const folder = values.folder ?? mkdtempSync(join(tmpdir(), "tessera-live-"));
try {
  console.log(`${values.ranks} ranks; ${machine()}`);
  if (!existsSync(join(folder, "train.safetensors"))) {
    const { hidden, width, experts, top, seed, skew } = values;
    const sizes = { hidden, width, experts, top, seed, layers: "2", rows: "2048", length: "128" };
    const more = values.balanced ? ["--even", "80"] : ["--skew", skew];
    const args = Object.entries(sizes).flatMap(([name, value]) => [`--${name}`, value]);
    python(join(import.meta.dirname, "skewed_model.py"), folder, ...args, ...more);
  }
  await (values.balanced ? balanced(folder) : skewed(folder));
} finally {
  if (!values.folder) rmSync(folder, { recursive: true, force: true });
}
