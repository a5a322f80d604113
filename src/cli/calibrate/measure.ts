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
 * Two fleets are used, each started when first needed, so that kernels run without a process group.
 */
export async function measure(options: MeasureOptions): Promise<Map<string, Measured>> {
  const { points, signal } = options;
  const { log, records } = AppendLog.open<Measured>(options.log);
  const known = new Map(records.map((record) => [record.key, record]));
  const fleets = new Map<boolean, Fleet>();
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
      let fleet = fleets.get(meet);
      if (!fleet) {
        fleet = await Fleet.start(meet ? options.ranks : options.together, meet, options.env, signal);
        fleets.set(meet, fleet);
      }
      const record = await repeat(fleet, point, key, !meet && options.ownTime);
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
    for (const fleet of fleets.values()) fleet.stop();
    log.close();
  }
  return known;
}

/** A warm-up that also says how long one call takes, then batches until the median is narrow or the point's time is spent. */
async function repeat(fleet: Fleet, point: Point, key: string, ownTime: boolean): Promise<Measured> {
  const samples: number[] = [];
  const take = (answers: readonly Answer[]): string | undefined => {
    const problem = answers.find((answer) => "problem" in answer);
    if (problem) return problem.problem;
    const good = answers as { wall: number[]; busy: number[] }[];
    const lists = good.map(({ wall, busy }) => (ownTime ? busy : wall));
    // Ranks that run alone are so many repeats; a collective ends when its last rank has it.
    if (point.size === undefined) samples.push(...lists.flat());
    else
      samples.push(
        ...(lists[0] as number[]).map((_, i) => Math.max(...lists.map((list) => list[i] as number))),
      );
    return undefined;
  };
  const wrong = take(await fleet.run(point, 1, 2));
  if (wrong !== undefined) return { key, problem: wrong };
  const one = Math.max(1e-7, Math.min(...samples));
  const inner = Math.max(1, Math.min(5000, Math.ceil(SAMPLE_SECONDS / one)));
  samples.length = 0;
  const begin = Date.now();
  for (;;) {
    const problem = take(await fleet.run(point, inner, BATCH));
    if (problem !== undefined) return { key, problem };
    const found = summary(samples);
    const spent = (Date.now() - begin) / 1000;
    if (found.interval <= NARROW || found.samples >= MOST_SAMPLES || spent > POINT_SECONDS)
      return { key, ...found };
  }
}
