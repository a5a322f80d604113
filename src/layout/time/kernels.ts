import {
  curveSeconds,
  type Device,
  gemmFeatures,
  groupedFeatures,
  type MathFormat,
} from "../../cluster/index.ts";

/**
 * Seconds of single kernels: a roofline (multiply or move, whichever takes longer) with the efficiency that the device's profile
 * gives the class of kernel, less what short dimensions waste on partial tiles and short pipelines.
 */

/** FLOP/s of a format: the data-sheet gain over bf16, less what scaling and casting inside the product cost. */
export function peakOf(device: Device, format: MathFormat): number {
  const base = device.peak.bf16;
  const sheet =
    format === "fp8"
      ? device.peak.fp8
      : format === "fp4"
        ? device.peak.fp4
        : format === "fp32"
          ? device.peak.fp32
          : base;
  if (format === "fp32") return sheet ?? base / 8;
  if (sheet === undefined || format === "bf16") return base;
  return base * (1 + (sheet / base - 1) * device.efficiency.lowPrecision);
}

const BYTES: Readonly<Record<MathFormat, number>> = { fp32: 4, bf16: 2, fp8: 1, fp4: 0.5 };

/** Output tiles a library chooses from, and what a smaller one costs in reuse of operands. */
const TILES = [
  [128, 256, 1],
  [256, 128, 1],
  [128, 128, 0.88],
  [64, 128, 0.72],
] as const;

/** Share of the cores' time that output tiles fill: partial tiles at the edges, and a last round that is not full. */
function tiling(cores: number, m: number, n: number): number {
  if (cores === 0) return 1;
  let best = 0;
  for (const [high, wide, reuse] of TILES) {
    const tiles = Math.ceil(m / high) * Math.ceil(n / wide);
    const rounds = Math.ceil(tiles / cores);
    best = Math.max(best, (reuse * m * n) / (rounds * cores * high * wide));
  }
  return best;
}

/**
 * Share of a result's traffic that the next tile's products do not hide. Published B200 products that accumulate into fp32
 * (8 bytes a result) run at 0.93 of the same products with a bf16 result, whatever their size.
 */
const EXPOSED = 0.35;

/** Product of [m, k] and [k, n]. `outBytes`: bytes a result element moves (4 read + 4 written when accumulating in fp32). */
export function gemmSeconds(
  device: Device,
  format: MathFormat,
  m: number,
  n: number,
  k: number,
  outBytes = 2,
  efficiency = device.efficiency.gemm,
): number {
  if (m <= 0 || n <= 0 || k <= 0) return 0;
  const known = device.measured?.gemm?.[format] ?? device.measured?.gemm?.fp32;
  if (known) return curveSeconds(known, gemmFeatures(m, n, k));
  const { halfDimension: half, launchSeconds, memory } = device.efficiency;
  const shape = tiling(device.efficiency.matrixCores, m, n) * (k / (k + half));
  const multiply = (2 * m * n * k) / (peakOf(device, format) * efficiency * shape);
  const speed = device.memoryBandwidth * memory;
  const out = (m * n * outBytes) / speed;
  const move = ((m * k + n * k) * BYTES[format]) / speed + out;
  return Math.max(multiply + EXPOSED * out, move) + launchSeconds;
}

/**
 * Rows an expert needs for half the speed of many: published B200 grouped products of 128 to 2,460 rows fall off as rows over
 * rows + 180 against a common width, and as rows over rows + 300 where the rows are what is summed (gradients of weights).
 */
const HALF_ROWS = { across: 180, summed: 300 } as const;

/** One product per expert in one launch: `groups` of [m, k] x [k, n], m being the mean. */
export function groupedSeconds(
  device: Device,
  format: MathFormat,
  groups: number,
  m: number,
  n: number,
  k: number,
): number {
  if (groups <= 0 || m <= 0) return 0;
  const known = device.measured?.grouped?.[format] ?? device.measured?.grouped?.fp32;
  if (known) return curveSeconds(known, groupedFeatures(groups, m, n, k));
  // Tiles of all groups share the cores, so only their edges are lost: as if one tall product, each group padded to a tile.
  const efficiency = device.efficiency.groupedGemm * (m / (m + HALF_ROWS.across));
  const padded = Math.ceil(m / 128) * 128;
  const one = gemmSeconds(device, format, padded * groups, n, k, 2, efficiency);
  const weights = (groups - 1) * n * k * BYTES[format];
  return one + weights / (device.memoryBandwidth * device.efficiency.memory);
}

/** Gradients of `groups` experts' weights [n, k], each summed over m rows. */
export function groupedWeightSeconds(
  device: Device,
  format: MathFormat,
  groups: number,
  m: number,
  n: number,
  k: number,
  outBytes: number,
): number {
  if (groups <= 0 || m <= 0) return 0;
  const known = device.measured?.grouped?.[format] ?? device.measured?.grouped?.fp32;
  if (known) return curveSeconds(known, groupedFeatures(groups, n, k, m));
  const efficiency = device.efficiency.groupedGemm * (m / (m + HALF_ROWS.summed));
  return gemmSeconds(device, format, n * groups, k, m, outBytes, efficiency);
}

/** Reads and writes of element-wise code, spread over `kernels` launches. */
export function streamSeconds(device: Device, bytes: number, kernels: number): number {
  if (device.measured?.stream) return curveSeconds(device.measured.stream, [kernels, bytes]);
  const { memory, unfused, launchSeconds } = device.efficiency;
  return (bytes * unfused) / (device.memoryBandwidth * memory) + kernels * unfused * launchSeconds;
}

/**
 * A score costs an exponential whatever its head's width, so narrow heads reach less. Widths that cost as much again, from
 * FlashAttention-3's published H100 figures (cuDNN bars at 4,096 tokens: 408 TFLOP/s at 64 against 609 at 128 forward, 417 against
 * 499 backward).
 */
const SCORE_WIDTH = { forward: 124, backward: 31 } as const;
/** Width of heads that efficiencies of attention are given for; wider ones are taken as equal. */
const USUAL_HEAD = 128;

/**
 * Softmax attention of `flops` (forward, matrix products only) in heads of this width. Backward computes the scores again: 2.5 times
 * the products.
 */
export function attentionSeconds(
  device: Device,
  flops: number,
  backward: boolean,
  sparse: boolean,
  width = USUAL_HEAD,
): number {
  if (flops <= 0) return 0;
  const { attentionForward, attentionBackward, sparseAttention, launchSeconds } = device.efficiency;
  const known = backward ? device.measured?.attentionBackward : device.measured?.attentionForward;
  if (known) return curveSeconds(known, [1, flops / (sparse ? sparseAttention : 1)]);
  const extra = backward ? SCORE_WIDTH.backward : SCORE_WIDTH.forward;
  const head = Math.min(width, USUAL_HEAD);
  const narrow = (head / (head + extra)) * ((USUAL_HEAD + extra) / USUAL_HEAD);
  const share = (backward ? attentionBackward : attentionForward) * (sparse ? sparseAttention : 1) * narrow;
  return ((backward ? 2.5 : 1) * flops) / (device.peak.bf16 * share) + launchSeconds;
}
