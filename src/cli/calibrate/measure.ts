import { availableParallelism, cpus } from "node:os";
import { AppendLog } from "../../base/node.ts";
import type { ProfilePoint } from "../../cluster/index.ts";
import { calibrateFail } from "./errors.ts";
import { type Answer, Fleet } from "./fleet.ts";
import { keyOf, type Point } from "./points.ts";
import { summary } from "./statistics.ts";

/** What the log keeps of a point: its result, or why it cannot be run on this device. */
export type Measured = ProfilePoint | { readonly key: string; readonly problem: string };

const SAMPLE_SECONDS = 2e-3;
const BATCH = 5;
const MOST_SAMPLES = 30;
const POINT_SECONDS = 1.5;
/** Half the interval of the median, as a share of it, at which repeating stops. */
const NARROW = 0.02;

export type MeasureOptions = {
  readonly points: readonly Point[];
  readonly log: string;
  /** Ranks that run kernels at once, each alone; and ranks that meet for collectives. */
  readonly together: number;
  readonly ranks: number;
  /** On processors a rank's own processor time is the measure: what else runs there does not count. */
  readonly ownTime: boolean;
  readonly seconds: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  readonly onPoint: (done: number, total: number, last: Measured, secondsLeft: number) => void;
  readonly onStart?: (hello: Readonly<Record<string, unknown>>) => void;
};

/**
 * Measures the points that the log does not hold yet, appending each as it is done, until all are or the budget is spent.
 * A fleet for each world is started when first needed, so that kernels run without a process group.
 */
export async function measure(options: MeasureOptions): Promise<Map<string, Measured>> {
  const { points, signal } = options;
  const { log, records } = AppendLog.open<Measured>(options.log);
  const known = new Map(records.map((record) => [record.key, record]));
  const fleets = new Map<string, Fleet>();
  const begin = Date.now();
  const total = points.length;
  let done = points.filter((point) => known.has(keyOf(point))).length;
  const before = done;
  try {
    for (const point of points) {
      const key = keyOf(point);
      if (known.has(key)) continue;
      const spent = (Date.now() - begin) / 1000;
      if (spent > options.seconds) break;
      const meet = point.size !== undefined;
      const count = meet ? (point.world ?? options.ranks) : options.together;
      const world = `${count} ${meet}`;
      let fleet = fleets.get(world);
      if (!fleet) {
        fleet = await Fleet.start(count, meet, options.env, signal);
        fleets.set(world, fleet);
      }
      const record = await repeat(fleet, point, key, options.ownTime);
      log.append(record);
      known.set(key, record);
      done++;
      const each = (Date.now() - begin) / 1000 / (done - before);
      const left = Math.min(
        each * (total - done),
        Math.max(0, options.seconds - (Date.now() - begin) / 1000),
      );
      options.onPoint(done, total, record, left);
    }
  } catch (cause) {
    if (!signal.aborted) throw cause;
    throw calibrateFail("CALIBRATE_INTERRUPTED", { done, total, log: options.log }, {}, cause);
  } finally {
    await Promise.all([...fleets.values()].map((fleet) => fleet.stop()));
    log.close();
  }
  return known;
}

/** A warm-up that also says how long one call takes, then batches until the median is narrow or the point's time is spent. */
async function repeat(fleet: Fleet, point: Point, key: string, processors: boolean): Promise<Measured> {
  const ownTime = processors && point.size === undefined;
  const ownSteps = processors && point.op === "engine";
  const samples: number[] = [];
  const take = (answers: readonly Answer[], idle: number): string | undefined => {
    const problem = answers.find((answer) => "problem" in answer);
    if (problem) return problem.problem;
    const good = answers as { wall: number[]; busy: number[] }[];
    const lists = good.map(({ wall, busy }) => (ownTime ? busy : wall));
    // Ranks that run alone are so many repeats; a collective ends when its last rank has it.
    if (point.size === undefined) samples.push(...lists.flat());
    else if (ownSteps) samples.push(...stepSeconds(good, idle));
    else
      samples.push(
        ...(lists[0] as number[]).map((_, i) => Math.max(...lists.map((list) => list[i] as number))),
      );
    return undefined;
  };
  const run = async (inner: number, count: number) => {
    const before = cpuTimes();
    const answers = await fleet.run(point, inner, count);
    return take(answers, idleShare(before, cpuTimes()));
  };
  const wrong = await run(1, 2);
  if (wrong !== undefined) return { key, problem: wrong };
  const one = Math.max(1e-7, Math.min(...samples));
  const inner = Math.max(1, Math.min(5000, Math.ceil(SAMPLE_SECONDS / one)));
  samples.length = 0;
  const begin = Date.now();
  for (;;) {
    const problem = await run(inner, BATCH);
    if (problem !== undefined) return { key, problem };
    const found = summary(samples);
    const spent = (Date.now() - begin) / 1000;
    if (found.interval <= NARROW || found.samples >= MOST_SAMPLES || spent > POINT_SECONDS)
      return { key, ...found };
  }
}

/**
 * What a step of all ranks takes on cores that they have to themselves: their own work on these cores, and the time that nobody used
 * them, which is waiting. Where nothing else runs this is the step's time by the clock.
 */
function stepSeconds(
  ranks: readonly { readonly wall: readonly number[]; readonly busy: readonly number[] }[],
  idle: number,
): number[] {
  const cores = Math.min(availableParallelism(), ranks.length);
  return (ranks[0]?.wall ?? []).map((_, i) => {
    const busy = ranks.reduce((sum, rank) => sum + (rank.busy[i] as number), 0);
    return busy / cores + idle * Math.max(...ranks.map(({ wall }) => wall[i] as number));
  });
}

type CpuTimes = { readonly idle: number; readonly all: number };

/** Ticks of all cores together. */
function cpuTimes(): CpuTimes {
  let [idle, all] = [0, 0];
  for (const { times } of cpus()) {
    idle += times.idle;
    all += Object.values(times).reduce((sum, ticks) => sum + ticks, 0);
  }
  return { idle, all };
}

const idleShare = (before: CpuTimes, after: CpuTimes): number =>
  after.all > before.all ? (after.idle - before.idle) / (after.all - before.all) : 0;
