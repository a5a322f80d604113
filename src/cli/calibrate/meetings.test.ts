import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { DeviceProfile } from "../../cluster/index.ts";
import { meetingPoints, passes, withWaiting } from "./meetings.ts";

const config = JSON.parse(
  readFileSync(join(import.meta.dirname, "../../../examples/base/model/config.json"), "utf8"),
) as Record<string, unknown>;
const curve = (...terms: number[]) => ({ terms, points: 3, median: 0, worst: 0 });
const kinds = ["allGather", "reduceScatter", "allReduce", "allToAll", "broadcast", "message"] as const;

/** A profile in which a collective takes `start` seconds in the world of two and twice that among four. */
function profile(start: number): DeviceProfile {
  const among = (world: number | undefined, seconds: number) =>
    kinds.flatMap((kind) =>
      [2, 4]
        .filter((size) => size <= (world ?? 4))
        .map((size) => {
          const began = kind === "message" ? 1e-4 : seconds;
          return { kind, size, stride: 1, ...(world ? { world } : {}), curve: curve(began, 1e-9) };
        }),
    );
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
    collectives: [...among(undefined, 2 * start), ...among(2, start)],
    complete: true,
    points: [],
  };
}

const machine = { ranks: 4, type: "cpu", cores: 2 };
const points = meetingPoints(
  config,
  { sequence: 256, microBatch: 4 },
  machine,
  (layers) => `model-${layers}`,
);

test("worlds of all ranks and of a core each are measured, as many ranks as each has", () => {
  expect(points.map(({ ranks }) => ranks)).toEqual([4, 2, 4, 2]);
  for (const { point, ranks, training } of points) {
    expect([point.size, point.world]).toEqual([ranks, ranks]);
    expect(training.globalBatch % ranks).toBe(0);
  }
  expect(meetingPoints(config, { sequence: 64, microBatch: 1 }, { ...machine, ranks: 1 }, String)).toEqual(
    [],
  );
});

test("waiting is found again from the steps of a machine whose ranks wait", () => {
  const quick = profile(1e-4);
  const slow = profile(7e-4);
  const measured = points.map((one) => ({ one, seconds: passes(one, slow) }));
  const found = withWaiting(quick, measured);
  found.collectives.forEach((one, i) =>
    expect(one.curve.terms[0]).toBeCloseTo(slow.collectives[i]?.curve.terms[0] as number, 9),
  );
  // Steps that are quicker than kernels and exchange say nothing about waiting.
  const none = withWaiting(
    quick,
    points.map((one) => ({ one, seconds: 0 })),
  );
  expect(none.collectives).toEqual(quick.collectives);
});
