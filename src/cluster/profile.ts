import { type Curve, curveSeconds } from "./curve.ts";
import type { CollectiveKind, Span } from "./collective.ts";
import type { MathFormat } from "./types.ts";

/** Version of the file that `tessera calibrate` writes. Another one is refused, never guessed at. */
export const PROFILE_SCHEMA = "tessera.profile/v1";

/** Kernels of one device as functions of their shape. `terms` of every curve are named in `FEATURES`. */
export type KernelCurves = {
  readonly gemm?: Readonly<Partial<Record<MathFormat, Curve>>>;
  readonly grouped?: Readonly<Partial<Record<MathFormat, Curve>>>;
  readonly attentionForward?: Curve;
  readonly attentionBackward?: Curve;
  readonly stream?: Curve;
  /** The update: by elements that a rank owns. */
  readonly optimizer?: Curve;
};

/** One kind of collective among `size` ranks that lie `stride` apart: alpha (seconds) + beta (seconds a byte) x bytes. */
export type CollectiveCurve = {
  readonly kind: CollectiveKind | "message";
  readonly size: number;
  readonly stride: number;
  /** Ranks of the node that were at work; absent: all that measured. Fewer of them wait less where they share cores. */
  readonly world?: number;
  readonly curve: Curve;
};

/** A measured point: what was run, seconds of one call (median), half the 95 % interval of that median over it, samples. */
export type ProfilePoint = {
  readonly key: string;
  readonly seconds: number;
  readonly interval: number;
  readonly spread: number;
  readonly samples: number;
};

/** What one machine's devices do, measured through the engine. */
export type DeviceProfile = {
  readonly schema: typeof PROFILE_SCHEMA;
  readonly device: { readonly name: string; readonly type: string; readonly memoryBytes: number };
  readonly torch: string;
  readonly made: string;
  /** Processes of a node that measured collectives, and its processor cores where those do the computing (else null). */
  readonly ranks: number;
  readonly cores: number | null;
  /** Highest rates seen: FLOP/s by format, bytes/s of memory and between host and device. */
  readonly peak: Readonly<Partial<Record<MathFormat, number>>>;
  readonly memoryBandwidth: number;
  readonly hostBandwidth: number;
  readonly launchSeconds: number;
  readonly kernels: KernelCurves;
  readonly collectives: readonly CollectiveCurve[];
  /** False when time or a limit ended the measuring early. */
  readonly complete: boolean;
  readonly points: readonly ProfilePoint[];
};

/** Names of a curve's terms, in the order of their coefficients. */
export const FEATURES = {
  gemm: ["one", "mnk", "mn", "mk", "nk"],
  grouped: ["one", "groups", "mnk", "mn", "mk", "gnk"],
  attention: ["one", "flops"],
  stream: ["kernels", "bytes"],
  optimizer: ["one", "elements"],
  collective: ["one", "bytes"],
} as const satisfies Record<string, readonly string[]>;

export const gemmFeatures = (m: number, n: number, k: number): number[] => [
  1,
  m * n * k,
  m * n,
  m * k,
  n * k,
];

/** `groups` products of [m, k] and [k, n]. */
export const groupedFeatures = (groups: number, m: number, n: number, k: number): number[] => [
  1,
  groups,
  groups * m * n * k,
  groups * m * n,
  groups * m * k,
  groups * n * k,
];

/** Collectives as they were among so many ranks of a node, or the next larger number that was measured. */
export function collectivesAmong(
  curves: readonly CollectiveCurve[],
  ranks: number,
): readonly CollectiveCurve[] {
  const enough = curves.flatMap(({ world }) => (world !== undefined && world >= ranks ? [world] : []));
  const world = enough.length > 0 ? Math.min(...enough) : undefined;
  const own = curves.filter((one) => one.world === world);
  // The first of two that fit equally well answers; what a smaller world lacks, the whole node has.
  return world === undefined ? own : [...own, ...curves.filter((one) => one.world === undefined)];
}

/**
 * Seconds of a measured collective; undefined where nothing like it was measured (then the links answer). Between measured group
 * sizes the next larger one stands in, which is never faster than the truth.
 *
 * @param bytes as in `collectiveSeconds`
 */
export function measuredCollective(
  curves: readonly CollectiveCurve[],
  kind: CollectiveCurve["kind"],
  bytes: number,
  span: Span,
): number | undefined {
  let best: CollectiveCurve | undefined;
  for (const one of curves) {
    if (one.kind !== kind || one.size < span.size || one.size * one.stride < span.size * span.stride)
      continue;
    const closer =
      best === undefined ||
      one.size < best.size ||
      (one.size === best.size && near(one, span) < near(best, span));
    if (closer) best = one;
  }
  return best && curveSeconds(best.curve, [1, bytes]);
}

const near = (one: CollectiveCurve, span: Span): number => Math.abs(Math.log(one.stride / span.stride));
