import type { Curve } from "../curve.ts";
import type { DeviceProfile } from "../index.ts";

export const sampleCurve = (...terms: number[]): Curve => ({ terms, points: 3, median: 0, worst: 0 });

/** A whole profile of four CPU ranks on two cores, as if measured; collectives are what tests differ in. */
export function sampleProfile(more: Partial<DeviceProfile>): DeviceProfile {
  const curve = sampleCurve;
  return {
    schema: "tessera.profile/v1",
    device: { name: "cpu", type: "cpu", memoryBytes: 16e9 },
    torch: "2.13.0",
    made: "2026-01-01T00:00:00.000Z",
    ranks: 4,
    cores: 2,
    peak: { fp32: 1e11 },
    memoryBandwidth: 2e10,
    hostBandwidth: 1e10,
    launchSeconds: 3e-6,
    kernels: {
      gemm: { fp32: curve(1e-6, 2e-11, 1e-10, 1e-10, 1e-10) },
      grouped: { fp32: curve(5e-6, 1e-6, 2e-11, 0, 0, 0) },
      attentionForward: curve(1e-5, 2e-11),
      attentionBackward: curve(2e-5, 5e-11),
      stream: curve(2e-5, 2e-10),
      optimizer: curve(2e-3, 1e-9),
    },
    collectives: [],
    complete: true,
    points: [],
    ...more,
  };
}
