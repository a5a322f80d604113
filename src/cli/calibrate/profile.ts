import {
  type CollectiveCurve,
  type Curve,
  type DeviceProfile,
  fitCurve,
  gemmFeatures,
  groupedFeatures,
  type KernelCurves,
  type MathFormat,
  PROFILE_SCHEMA,
  type ProfilePoint,
  type Sample,
} from "../../cluster/index.ts";
import { countParameters, importModel } from "../../model/index.ts";
import { unwrap } from "../../base/index.ts";
import { calibrateFail } from "./errors.ts";
import { type EnginePoint, engineSample, scaledCurve } from "./engine-points.ts";
import { type MeetingPoint, withWaiting } from "./meetings.ts";
import type { Measured } from "./measure.ts";
import { keyOf, type Point } from "./points.ts";

type Device = DeviceProfile["device"];
type Fields = Record<string, number>;

const FORMAT: Readonly<Record<string, MathFormat>> = { float32: "fp32", bfloat16: "bf16" };
const BYTES: Readonly<Record<string, number>> = { float32: 4, bfloat16: 2 };
/** Bytes that one element of these streams moves, in elements: a norm reads and writes, the others read two and write one. */
const MOVED: Readonly<Record<string, number>> = { norm: 2, activation: 3, add: 3 };
/** Forward FLOPs of causal attention: half of the pairs, two products; backward does 2.5 times that, as the planner asks. */
const attentionFlops = (p: Fields): number =>
  2 * (p["rows"] as number) * (p["heads"] as number) * (p["sequence"] as number) ** 2 * (p["dim"] as number);

/** Whole steps from which three terms can be fitted with one to spare. */
const LEAST_PASSES = 4;
/** How far the engine's attention may lie from its kernel's: shorter steps than it dominates cannot tell it from element-wise code. */
const PACE = { least: 0.25, most: 4 } as const;

/** What whole steps say of the code between products, and of the pace of attention; undefined when there are too few of them. */
function fitBetween(
  passes: readonly { readonly one: EnginePoint; readonly seconds: number }[],
  kernels: KernelCurves,
): { readonly stream: Curve; readonly pace: number } | undefined {
  if (passes.length < LEAST_PASSES) return undefined;
  const all = passes.map(({ one, seconds }) => engineSample(one, seconds, kernels));
  const pace = Math.min(PACE.most, Math.max(PACE.least, fitCurve(all)?.terms[2] ?? 1));
  const stream = fitCurve(
    all.map(({ features: [starts, bytes, attention], known = 0, seconds }) => ({
      features: [starts as number, bytes as number],
      known: known + pace * (attention as number),
      seconds,
    })),
  );
  return stream && { stream, pace };
}

/** Fits every curve on the points that were measured. */
export function makeProfile(ask: {
  readonly device: Device;
  readonly torch: string;
  readonly made: string;
  readonly ranks: number;
  readonly cores: number | null;
  readonly points: readonly Point[];
  readonly engine: readonly EnginePoint[];
  readonly meetings: readonly MeetingPoint[];
  readonly measured: ReadonlyMap<string, Measured>;
}): DeviceProfile {
  const found: { point: Point; seconds: number }[] = [];
  const all: ProfilePoint[] = [];
  let left = 0;
  for (const point of ask.points) {
    const record = ask.measured.get(keyOf(point));
    if (!record) left++;
    else if (!("problem" in record)) {
      all.push(record);
      found.push({ point, seconds: record.seconds });
    }
  }
  const of = (...ops: string[]) => found.filter(({ point }) => ops.includes(point.op));
  const samples = (list: typeof found, features: (p: Fields, point: Point) => number[]): Sample[] =>
    list.map(({ point, seconds }) => ({ seconds, features: features(point as unknown as Fields, point) }));
  const need = (name: string, curve: Curve | undefined): Curve => {
    if (curve) return curve;
    throw calibrateFail("CALIBRATE_TOO_FEW", { done: all.length, missing: name });
  };
  const byFormat = (op: string, features: (p: Fields) => number[]): Partial<Record<MathFormat, Curve>> =>
    Object.fromEntries(
      Object.entries(FORMAT).flatMap(([dtype, format]) => {
        const curve = fitCurve(
          samples(
            of(op).filter(({ point }) => point["dtype"] === dtype),
            features,
          ),
        );
        return curve ? [[format, curve]] : [];
      }),
    );

  const gemm = byFormat("gemm", (p) => gemmFeatures(p["m"] as number, p["n"] as number, p["k"] as number));
  if (Object.keys(gemm).length === 0) need("gemm", undefined);
  const grouped = byFormat("grouped", (p) =>
    groupedFeatures(p["groups"] as number, p["m"] as number, p["n"] as number, p["k"] as number),
  );
  const moved = (p: Fields, point: Point) =>
    (p["elements"] as number) * (MOVED[point.op] as number) * (BYTES[String(point["dtype"])] as number);
  const streams = of("norm", "activation", "add");
  const attentionForward = fitCurve(samples(of("attention"), (p) => [1, attentionFlops(p)]));
  const attentionBackward = fitCurve(samples(of("attentionBackward"), (p) => [1, attentionFlops(p)]));
  const kernelsAt = (pace: number): KernelCurves => ({
    gemm,
    ...(Object.keys(grouped).length > 0 ? { grouped } : {}),
    ...(attentionForward ? { attentionForward: scaledCurve(attentionForward, pace) } : {}),
    ...(attentionBackward ? { attentionBackward: scaledCurve(attentionBackward, pace) } : {}),
  });
  const single = kernelsAt(1);
  const done = <T extends { readonly point: Point }>(list: readonly T[]) =>
    list.flatMap((one) => {
      const record = ask.measured.get(keyOf(one.point));
      return record && !("problem" in record) ? [{ one, seconds: record.seconds }] : [];
    });
  const whole = done(ask.engine);
  const passes = whole.filter(({ one }) => one.part === "passes");
  // Whole steps say what the code between products costs in the engine; without them single kernels must do.
  const between = fitBetween(passes, single);
  const stream = between?.stream ?? fitCurve(samples(streams, (p, point) => [1, moved(p, point)]));
  const pace = between?.pace ?? 1;
  const optimizer = fitCurve(
    whole
      .filter(({ one }) => one.part === "update")
      .map(({ one, seconds }) => {
        const model = unwrap(importModel(one.config as Record<string, unknown>));
        return { features: [1, countParameters(model).total], seconds };
      }),
  );
  const rate = (list: typeof found, work: (p: Fields, point: Point) => number) =>
    Math.max(0, ...list.map(({ point, seconds }) => work(point as unknown as Fields, point) / seconds));
  const peak = Object.fromEntries(
    Object.entries(FORMAT).flatMap(([dtype, format]) => {
      const flops = rate(
        of("gemm").filter(({ point }) => point["dtype"] === dtype),
        (p) => 2 * (p["m"] as number) * (p["n"] as number) * (p["k"] as number),
      );
      return flops > 0 ? [[format, flops]] : [];
    }),
  );
  const memoryBandwidth = rate(streams, moved);
  const hostBandwidth = rate(of("copy"), (p) => 4 * (p["elements"] as number));
  const launch = of("launch")[0]?.seconds;
  if (memoryBandwidth === 0) need("norm/activation/add", undefined);
  const profile: DeviceProfile = {
    schema: PROFILE_SCHEMA,
    device: ask.device,
    torch: ask.torch,
    made: ask.made,
    ranks: ask.ranks,
    cores: ask.cores,
    peak,
    memoryBandwidth,
    hostBandwidth: hostBandwidth || memoryBandwidth,
    launchSeconds: launch ?? 1e-5,
    kernels: { ...kernelsAt(pace), stream: need("stream", stream), ...(optimizer ? { optimizer } : {}) },
    collectives: collectiveCurves(found.filter(({ point }) => point.op !== "engine")),
    complete: left === 0,
    points: all,
  };
  return withWaiting(profile, done(ask.meetings));
}

function collectiveCurves(found: readonly { point: Point; seconds: number }[]): CollectiveCurve[] {
  const groups = new Map<string, { of: Omit<CollectiveCurve, "curve">; samples: Sample[] }>();
  for (const { point, seconds } of found) {
    const { op, size, stride, world } = point;
    if (size === undefined || stride === undefined) continue;
    const key = `${op}/${size}/${stride}/${world ?? "all"}`;
    const kind = op as CollectiveCurve["kind"];
    const of = { kind, size, stride, ...(world === undefined ? {} : { world }) };
    const group = groups.get(key) ?? { of, samples: [] };
    groups.set(key, group);
    const bytes = 4 * Number(point["elements"]);
    // A message is measured there and back.
    group.samples.push({ features: [1, bytes], seconds: op === "message" ? seconds / 2 : seconds });
  }
  return [...groups.values()].flatMap(({ of, samples }) => {
    const curve = fitCurve(samples);
    return curve ? [{ ...of, curve }] : [];
  });
}
