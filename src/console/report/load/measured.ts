import { bucketize, type ScalarSeries, type SeriesSource, splitRewound } from "../../../store/index.ts";
import { TEXTS } from "../texts.ts";
import type { BalancePart, Curve, ExpertsPart, Mark, Point, TrainingPart } from "../types.ts";

/** More buckets than a chart has pixels would only make the file larger. */
const BUCKETS = 600;
/** Bytes of load map frames that a report carries at most, as JSON text. */
const FRAME_CHARACTERS = 2_000_000;

const CURVES = [
  { key: "loss", title: TEXTS.loss, unit: "", log: false },
  { key: "throughput", title: TEXTS.throughput, unit: "", log: false },
  { key: "gradNorm", title: TEXTS.gradNorm, unit: "", log: true },
  { key: "learningRate", title: TEXTS.learningRate, unit: "", log: false },
] as const;

export function readTraining(
  source: SeriesSource,
  marks: readonly Mark[],
  wallSeconds: number | null,
): TrainingPart | null {
  if (!source.has("loss")) return null;
  const curves = CURVES.filter(({ key }) => source.has(key)).map((curve) => ({
    ...curve,
    ...curvePoints(source.scalar(curve.key)),
  }));
  const kept = (name: string): number[] => {
    if (!source.has(name)) return [];
    const series = source.scalar(name);
    return splitRewound(series.step).kept.map((i) => series.value[i] as number);
  };
  const useful = sum(kept("seconds"));
  const tokens = sum(kept("tokens"));
  return {
    curves,
    marks,
    steps: kept("loss").length,
    tokens: tokens > 0 ? tokens : null,
    seconds: wallSeconds,
    effectiveRatio: wallSeconds === null || useful === 0 ? null : Math.min(1, useful / wallSeconds),
  };
}

function curvePoints({ step, value }: ScalarSeries): Pick<Curve, "points" | "lost"> {
  const { kept, lost } = splitRewound(step);
  const buckets = bucketize(
    kept.map((i) => step[i] as number),
    kept.map((i) => value[i] as number),
    BUCKETS,
  );
  return {
    points: buckets.map(
      ({ x, min, max, last, nan }): Point => [x, figure(min), figure(max), figure(last), nan],
    ),
    lost: thin(
      lost.map((i) => [step[i] as number, figure(value[i] as number)] as const),
      BUCKETS,
    ).flatMap(([x, y]) => (y === null ? [] : [[x, y] as const])),
  };
}

/** A number as JSON can hold it, to seven digits: a report needs no more, and they would double its size. */
const figure = (value: number): number | null =>
  Number.isFinite(value) ? Number(value.toPrecision(7)) : null;

export function readExperts(
  source: SeriesSource,
  bound: number | null,
  balance: BalancePart | null,
): ExpertsPart | null {
  const layers = source
    .names()
    .matrices.flatMap((name) => /^load\/(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
  const first = layers[0];
  if (first === undefined) return null;
  const experts = source.matrix(`load/${first}`).columns;
  const same = layers.filter((layer) => source.matrix(`load/${layer}`).columns === experts);
  const series = same.map((layer) => {
    const matrix = source.matrix(`load/${layer}`);
    // The last writing of a step is the one that counts.
    return { matrix, index: new Map(matrix.step.map((step, i) => [step, i])) };
  });
  const steps = [...(series[0]?.index.keys() ?? [])]
    .filter((step) => series.every(({ index }) => index.has(step)))
    .sort((a, b) => a - b);
  const rows = (step: number) => series.map(({ matrix, index }) => matrix.read(index.get(step) as number));
  const ratio = steps.map((step) => {
    const ratios = rows(step).map((row) => {
      const total = sum([...row]);
      return total === 0 ? 1 : (Math.max(...row) * row.length) / total;
    });
    return {
      step,
      worst: Number(Math.max(...ratios).toFixed(4)),
      mean: Number((sum(ratios) / ratios.length).toFixed(4)),
    };
  });
  const characters = 5 * experts * same.length;
  const frames = thin(steps, Math.max(2, Math.min(240, Math.floor(FRAME_CHARACTERS / characters)))).map(
    (step) => ({
      step,
      counts: rows(step).flatMap((row) => [...row]),
    }),
  );
  return { layers: same, experts, frames, ratio: thinRatio(ratio), bound, balance };
}

/** At most `BUCKETS` records, in each bucket the worst one, so that a bad step is not left out. */
function thinRatio(ratio: ExpertsPart["ratio"]): ExpertsPart["ratio"] {
  const width = Math.ceil(ratio.length / BUCKETS);
  if (width <= 1) return ratio;
  const out: ExpertsPart["ratio"][number][] = [];
  for (let i = 0; i < ratio.length; i += width) {
    out.push(ratio.slice(i, i + width).reduce((most, one) => (one.worst > most.worst ? one : most)));
  }
  return out;
}

/** At most `count` of the values, evenly, with the first and the last. */
function thin<T>(values: readonly T[], count: number): T[] {
  if (values.length <= count) return [...values];
  return Array.from(
    { length: count },
    (_, i) => values[Math.round((i * (values.length - 1)) / (count - 1))] as T,
  );
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
