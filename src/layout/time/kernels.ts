import type { Device, MathFormat } from "../../cluster/index.ts";

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
  const { halfDimension: half, launchSeconds, memory } = device.efficiency;
  const shape = (m / (m + half)) * (n / (n + half)) * (k / (k + half));
  const multiply = (2 * m * n * k) / (peakOf(device, format) * efficiency * shape);
  const move = ((m * k + n * k) * BYTES[format] + m * n * outBytes) / (device.memoryBandwidth * memory);
  return Math.max(multiply, move) + launchSeconds;
}

/** One product per expert in one launch: `groups` of [m, k] x [k, n], m being the mean. */
export function groupedSeconds(
  device: Device,
  format: MathFormat,
  groups: number,
  m: number,
  n: number,
  k: number,
  outBytes = 2,
): number {
  if (groups <= 0 || m <= 0) return 0;
  const { launchSeconds, groupedGemm } = device.efficiency;
  const one = gemmSeconds(device, format, m, n, k, outBytes, groupedGemm) - launchSeconds;
  return groups * one + launchSeconds;
}

/** Reads and writes of element-wise code, spread over `kernels` launches. */
export function streamSeconds(device: Device, bytes: number, kernels: number): number {
  const { memory, unfused, launchSeconds } = device.efficiency;
  return (bytes * unfused) / (device.memoryBandwidth * memory) + kernels * unfused * launchSeconds;
}

/** Softmax attention of `flops` (forward, matrix products only). Backward computes the scores again: 2.5 times the products. */
export function attentionSeconds(device: Device, flops: number, backward: boolean, sparse: boolean): number {
  if (flops <= 0) return 0;
  const { attentionForward, attentionBackward, sparseAttention, launchSeconds } = device.efficiency;
  const share = (backward ? attentionBackward : attentionForward) * (sparse ? sparseAttention : 1);
  return ((backward ? 2.5 : 1) * flops) / (device.peak.bf16 * share) + launchSeconds;
}
