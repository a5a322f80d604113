import type { Params } from "../base/index.ts";
import { formatBytes } from "../base/index.ts";
import type { Alarm, Finding, RunState, Signal } from "../run/index.ts";
import { restartsSpent, type WatchState } from "./state.ts";

/** A rule looks at one signal and the state after it. */
export type Rule = (state: WatchState, signal: Signal, run: RunState) => Finding | null;

/** Exit codes of a worker, as the engine documents them. */
const WORKER_ENVIRONMENT = 3;
const WORKER_NOT_FINITE = 40;

const SIGNALS: Readonly<Record<number, string>> = {
  6: "SIGABRT",
  7: "SIGBUS",
  9: "SIGKILL",
  11: "SIGSEGV",
  15: "SIGTERM",
};

function alarm(
  rule: Alarm["rule"],
  code: string,
  at: Partial<Pick<Alarm, "rank" | "agent" | "step">>,
  evidence: Params,
): Alarm {
  return { rule, code, rank: null, agent: null, step: null, ...at, evidence };
}

/** Restart while the budget lasts, else end with the alarm as its cause. */
function heal(found: Alarm, wanted: "restart" | "stop", state: WatchState, run: RunState): Finding {
  if (wanted === "stop") return { alarm: found, remedy: { do: "fail", verdict: found.code } };
  const { inARow, total } = restartsSpent(run);
  if (inARow < state.policy.restarts && total < state.policy.totalRestarts) {
    return { alarm: found, remedy: { do: "restart" } };
  }
  const spent = Math.min(inARow, total) < state.policy.restarts ? total : inARow;
  return {
    alarm: { ...found, evidence: { ...found.evidence, count: spent } },
    remedy: { do: "fail", verdict: "RUN_BUDGET" },
  };
}

/** A rank ended though the run is not done. The first to end is the cause; the others follow because their peer is gone. */
const rankCrash: Rule = (state, signal, run) => {
  if (signal.kind !== "rankExit") return null;
  const { rank, code } = signal;
  const fatal = state.fatals[rank];
  const ended =
    signal.signal !== null ? (SIGNALS[signal.signal] ?? `signal ${signal.signal}`) : `exit code ${code}`;
  const how = fatal ? `${ended} (${fatal.code}: ${fatal.message.split("\n")[0]?.slice(0, 300)})` : ended;
  const step = state.steps[rank] ?? 0;
  const evidence = { rank, how, step, attempt: signal.attempt };
  if (code === WORKER_NOT_FINITE) return notFinite(state, run, rank, evidence);
  if (code === WORKER_ENVIRONMENT && fatal?.code === "ENGINE_MEMORY") {
    const facts = fatal as unknown as Readonly<Record<string, unknown>>;
    const bytes = (name: string) => formatBytes(Number(facts[name]));
    const short = { needed: bytes("needed"), free: bytes("free"), device: String(facts["device"]) };
    const lighter = String(facts["lighter"] || "batch.microBatch: 1, layout.recompute: full");
    return {
      alarm: alarm("rankCrash", "RUN_MEMORY", { rank, step }, { ...evidence, ...short, lighter }),
      remedy: { do: "fail", verdict: "RUN_MEMORY" },
    };
  }
  if (code === WORKER_ENVIRONMENT) {
    return {
      alarm: alarm("rankCrash", "RUN_ENVIRONMENT", { rank, step }, evidence),
      remedy: { do: "fail", verdict: "RUN_ENVIRONMENT" },
    };
  }
  const full = shortOfDisk(state, run);
  if (full && /no space left|ENOSPC|disk full|quota/i.test(how)) {
    return {
      alarm: alarm("disk", "RUN_DISK_FULL", { rank, step }, full),
      remedy: { do: "fail", verdict: "RUN_DISK_FULL" },
    };
  }
  return heal(
    alarm("rankCrash", "RUN_RANK_CRASH", { rank, step }, evidence),
    state.policy.rankCrash.remedy,
    state,
    run,
  );
};

/** Once may be a passing fault of the hardware; the same step again is data or mathematics, and no restart mends that. */
function notFinite(state: WatchState, run: RunState, rank: number, exit: Params): Finding {
  const bad = state.notFinite;
  // The engine stops before it reports such a step: then its last words tell which one it was.
  const step = bad?.step ?? state.fatals[rank]?.step ?? Math.max(0, ...Object.values(state.steps)) + 1;
  const numbers = bad
    ? `loss ${bad.loss}, gradient norm ${bad.gradNorm}`
    : (state.fatals[rank]?.message ?? exit["how"] ?? "");
  const found = alarm(
    "notFinite",
    "RUN_NOT_FINITE",
    { rank, step },
    { ...exit, step, numbers: String(numbers) },
  );
  const before = run.incidents.some((one) => one.alarm.rule === "notFinite" && one.alarm.step === step);
  return heal(found, before ? "stop" : state.policy.notFinite.remedy, state, run);
}

const agentLost: Rule = (state, signal, run) => {
  if (signal.kind !== "agentLost") return null;
  const { agent, why } = signal;
  return heal(
    alarm("agentLost", "RUN_AGENT_LOST", { agent }, { agent, how: why }),
    state.policy.agentLost.remedy,
    state,
    run,
  );
};

/** The engine cannot even be loaded: trying again changes nothing. */
const startFailed: Rule = (_state, signal) =>
  signal.kind === "startFailed"
    ? {
        alarm: alarm(
          "startFailed",
          "RUN_ENGINE",
          { agent: signal.agent },
          { agent: signal.agent, why: signal.why },
        ),
        remedy: { do: "fail", verdict: "RUN_ENGINE" },
      }
    : null;

/** Longest time without progress that is still normal, in seconds: learned from the steps before. */
export function patience(state: WatchState): number {
  const { factor, floorSeconds, startSeconds } = state.policy.hang;
  if (Object.keys(state.steps).length === 0) return startSeconds;
  return Math.max(floorSeconds, factor * Math.max(0, ...state.stepSeconds));
}

const hang: Rule = (state, signal, run) => {
  if (signal.kind !== "tick" || !state.working) return null;
  const silent = signal.t - state.progressAt;
  const limit = patience(state);
  if (silent <= limit) return null;
  const { rank, why } = suspect(state);
  const step = state.steps[rank] ?? 0;
  const evidence = {
    rank,
    how: why,
    step,
    seconds: silent.toFixed(1),
    limit: limit.toFixed(1),
    attempt: state.attempt,
  };
  return heal(alarm("hang", "RUN_HANG", { rank, step }, evidence), state.policy.hang.remedy, state, run);
};

/**
 * Which rank hangs. A stopped process (state T) is certain; else the rank with the least step; else, all waiting for one another,
 * the one that used the least processor time since the last look (a peer in a collective spins or polls).
 */
function suspect(state: WatchState): { rank: number; why: string } {
  const stopped = state.processes.find((one) => one.state === "T" || one.state === "t");
  if (stopped) return { rank: stopped.rank, why: "its process is stopped (state T)" };
  const steps = Object.entries(state.steps).map(([rank, step]) => ({ rank: Number(rank), step }));
  const least = steps.toSorted((a, b) => a.step - b.step)[0];
  if (least && steps.some((one) => one.step > least.step))
    return { rank: least.rank, why: `it is behind, at step ${least.step}` };
  const used = state.processes.map((one) => ({
    rank: one.rank,
    seconds: one.cpuSeconds - (state.processesBefore.find((two) => two.rank === one.rank)?.cpuSeconds ?? 0),
  }));
  const idle = used.toSorted((a, b) => a.seconds - b.seconds)[0];
  return idle
    ? { rank: idle.rank, why: "it used the least processor time" }
    : { rank: 0, why: "no rank answers" };
}

/** Numbers of a disk that is too full, or nothing. */
function shortOfDisk(state: WatchState, run: RunState): Params | null {
  const last = state.disk.at(-1);
  if (!last) return null;
  const need = roomNeeded(state, run);
  if (last.freeBytes >= need) return null;
  return {
    path: `runs/${run.name}`,
    run: run.run,
    free: formatBytes(last.freeBytes),
    need: formatBytes(need),
  };
}

/** Bytes that must stay free. */
function roomNeeded(state: WatchState, run: RunState): number {
  const { checkpoints, floorBytes } = state.policy.disk;
  return Math.max(floorBytes, Math.ceil(checkpoints * (run.checkpoint?.bytes ?? 0)));
}

/** Seconds between a pruning and the judgement whether it helped. */
const PRUNE_SECONDS = 3;

const disk: Rule = (state, signal, run) => {
  if (signal.kind !== "disk" || !state.working) return null;
  const short = shortOfDisk(state, run);
  if (short) {
    if (state.prunedAt === null) {
      return { alarm: alarm("disk", "RUN_DISK_FULL", {}, short), remedy: { do: "prune", keep: 1 } };
    }
    if (signal.t - state.prunedAt < PRUNE_SECONDS) return null;
    // Saving on the way out needs the room of one more checkpoint.
    const canSave = signal.freeBytes > 1.2 * (run.checkpoint?.bytes ?? 0) && run.checkpoint !== null;
    return {
      alarm: alarm("disk", "RUN_DISK_FULL", {}, short),
      remedy: canSave ? { do: "stop", verdict: "RUN_DISK_FULL" } : { do: "fail", verdict: "RUN_DISK_FULL" },
    };
  }
  const left = secondsUntil(state, roomNeeded(state, run));
  if (left === null || left > state.policy.disk.forecastSeconds || state.warnedAt !== null) return null;
  const evidence = {
    path: `runs/${run.name}`,
    run: run.run,
    free: formatBytes(signal.freeBytes),
    need: formatBytes(roomNeeded(state, run)),
    seconds: Math.round(left),
  };
  return { alarm: alarm("disk", "RUN_DISK_FULL", {}, evidence), remedy: { do: "prune", keep: 1 } };
};

/** Seconds until the free room falls to `floor` by its straight trend (least squares); nothing when it does not fall. */
export function secondsUntil(state: WatchState, floor: number): number | null {
  const points = state.disk;
  const first = points[0];
  const last = points.at(-1);
  if (!first || !last || points.length < 10 || last.t - first.t < 20) return null;
  const n = points.length;
  const meanT = points.reduce((sum, one) => sum + (one.t - first.t), 0) / n;
  const meanFree = points.reduce((sum, one) => sum + one.freeBytes, 0) / n;
  let over = 0;
  let under = 0;
  for (const one of points) {
    over += (one.t - first.t - meanT) * (one.freeBytes - meanFree);
    under += (one.t - first.t - meanT) ** 2;
  }
  const slope = over / under;
  return slope < 0 ? Math.max(0, (last.freeBytes - floor) / -slope) : null;
}

/** Rules in the order they are asked; the first that fires decides. */
export const RULES: readonly Rule[] = [rankCrash, agentLost, startFailed, hang, disk];
