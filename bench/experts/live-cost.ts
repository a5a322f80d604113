/**
 * What live balancing costs the controller: processor time a step to put a step's messages together, digest them, and decide every
 * 20th step, on loads that drift so that it has something to decide; and for how long at a time nothing else is heard meanwhile.
 *
 *   node bench/experts/live-cost.ts [--layers 61] [--experts 384] [--ep 64] [--world 1024] [--steps 80] [--step-seconds 36.7] [--in-place]
 */
import { makeUpHistory } from "../../src/experts/index.ts";
import { setTimeout as sleep } from "node:timers/promises";
import { Balancing, DecisionThread, IN_PLACE } from "../../src/run/balancing/index.ts";
import {
  EMPTY,
  encodeArray,
  type KnownMessage,
  known,
  reduce,
  type WorkerMessage,
} from "../../src/run/index.ts";
import type { WorkerCommand } from "../../src/run/wire/index.ts";
import { machine, option, verdict } from "./shared.ts";

const layers = Number(option("layers") ?? 61);
const experts = Number(option("experts") ?? 384);
const ep = Number(option("ep") ?? 64);
const world = Number(option("world") ?? 1024);
const steps = Number(option("steps") ?? 80);
const stepSeconds = Number(option("step-seconds") ?? 36.7);
const every = 20;
const inPlace = process.argv.includes("--in-place");
/** Longest that a machine of this size may go without hearing anyone. */
const MOST_STALL = 0.1;

const history = makeUpHistory({
  layers,
  experts,
  steps,
  skew: { kind: "lognormal", cv: 0.7 },
  tokens: 4096 * world,
  overDispersion: 4,
  keep: 0.98,
  wander: 0.2,
  seed: 1,
});
let run = { ...EMPTY, attempt: 1 };
let commands = 0;
const asked: WorkerCommand[] = [];
const decider = inPlace ? IN_PLACE : new DecisionThread();
let waiting = 0;
const balancing = new Balancing({
  policy: {
    mode: "on",
    every,
    window: 32,
    safety: 2,
    linksEvery: 0,
    overlap: false,
    foresight: false,
    scanRows: 0,
    memoryBytes: 64e9,
    memoryQuantile: 0.999,
  },
  topology: {
    world,
    pp: 1,
    ep,
    groups: world / ep,
    nodes: ep / 8,
    routerGroups: 1,
    microBatches: 1,
    bytesPerExpert: 800e6,
    rowBytes: 14_336,
    savedBytesPerRow: 40_000,
    inFlight: 1,
    recompute: false,
    microBatch: 1,
  },
  steps: 10_000,
  decider: {
    ask: (question, answered) => {
      waiting++;
      decider.ask(question, (answer) => {
        waiting--;
        answered(answer);
      });
    },
    close: () => decider.close(),
  },
  journal: {
    get state() {
      return run;
    },
    write: (event) => {
      run = reduce(run, { t: 0, ...event } as never);
      return run;
    },
  },
  told: [],
  note: (_step, _attempt, fields) => void JSON.stringify(fields),
});
const places: Record<string, readonly number[]> = Object.fromEntries(
  (history[0]?.ids ?? []).map((id) => [id, Array.from({ length: experts }, (_, e) => e)]),
);
const head = (kind: string, rank: number, step: number) => ({
  v: 1,
  kind,
  run: "b",
  rank,
  step,
  t: step,
  attempt: 1,
});
/** Seconds of processor that this thread has used. */
const used = () => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1e6;
};
/** The same of all other threads: the one that decides, and the compiler's. */
const elsewhere = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6 - used();
};
let others = 0;
let worst = 0;
let stall = 0;
let all = 0;
const see = (message: object, t: number) => {
  const told = known(message as WorkerMessage);
  if (told)
    balancing.see({ t, kind: "worker", message: told as KnownMessage }, (command) => asked.push(command));
};
balancing.see({ t: 0, kind: "attempt", attempt: 1, world }, () => undefined);
see({ ...head("placement", 0, 0), layers: places }, 0);
for (const [i, loads] of history.entries()) {
  const step = i + 1;
  const busy = Array.from({ length: ep }, (_, rank) => {
    const each = experts / ep;
    let rows = 0;
    for (let l = 0; l < layers; l++) {
      for (const e of places[String(loads.ids[l])]?.slice(rank * each, (rank + 1) * each) ?? []) {
        rows += loads.values[l * experts + e] as number;
      }
    }
    return (rows / (world / ep)) * 1e-6;
  });
  const slow = Math.max(...busy);
  const counts = encodeArray("int32", [layers, experts], Array.from(loads.values, Math.round));
  const messages: object[] = [{ ...head("load", 0, step), layers: loads.ids, counts }];
  for (let rank = 0; rank < world; rank++) {
    const spans = { forwardBackward: 10 + slow, allToAll: 1 + slow - (busy[rank % ep] as number) };
    const step0 = { loss: 1, gradNorm: 1, learningRate: 1, tokens: 1, seconds: 12, cursor: step, spans };
    messages.push({ ...head("step", rank, step), ...step0, memory: { peak: 60e9 } });
  }
  let seconds = 0;
  let longest = 0;
  const hear = (act: () => void) => {
    const before = used();
    act();
    const took = used() - before;
    seconds += took;
    longest = Math.max(longest, took);
  };
  for (const message of messages) hear(() => see(message, step));
  while (waiting > 0) await sleep(1);
  hear(() => balancing.see({ t: step, kind: "tick" }, (command) => asked.push(command)));
  for (const command of asked.splice(0)) {
    if (command.do === "rehearse") {
      // As a move takes below: 8 GB a second, and a tenth of a second besides.
      const samples = [1, 2, 4].map((gigabytes) => [1, gigabytes * 1e9, 0.1 + gigabytes / 8]);
      see({ ...head("rehearsed", 0, step), samples }, step);
      continue;
    }
    commands++;
    Object.assign(places, command["placement"]);
    const moved = { bytes: 8e9, slots: 6, layers: [], seconds: 1.1 };
    for (let rank = 0; rank < world; rank++) see({ ...head("moved", rank, step), ...moved }, step);
    see({ ...head("placement", 0, step), layers: places }, step);
    see({ ...head("ack", 0, step), id: command.id, do: "relocate", ok: true }, step);
  }
  // The first steps are the compiler's.
  if (step === every) others = elsewhere();
  if (step <= every) continue;
  all += seconds;
  worst = Math.max(worst, seconds);
  stall = Math.max(stall, longest);
}
others = (elsewhere() - others) / (steps - every);
balancing.close();
const mean = all / (steps - every);
console.log(`live balancing, ${layers} x ${experts}, ${ep} expert ranks, ${world} ranks; ${machine()}`);
console.log(
  `${(1000 * mean).toFixed(1)} ms of processor a step where others are heard, ${(1000 * others).toFixed(1)} ms elsewhere; ${(1000 * worst).toFixed(0)} ms in a step with a decision, ${(1000 * stall).toFixed(0)} ms at a time at most; ${run.balance.lastId} decisions written, ${commands} commands`,
);
verdict(
  `at most 0.3 % of a step of ${stepSeconds} s (${((100 * (mean + others)) / stepSeconds).toFixed(3)} %)`,
  mean + others <= 0.003 * stepSeconds,
);
verdict(`deaf for at most ${1000 * MOST_STALL} ms at a time`, stall <= MOST_STALL);
