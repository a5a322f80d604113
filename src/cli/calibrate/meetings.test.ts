import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { DeviceProfile } from "../../cluster/index.ts";
import { sampleCurve, sampleProfile } from "../../cluster/testing/profile.ts";
import { meetingPoints, passes, withWaiting } from "./meetings.ts";

const config = JSON.parse(
  readFileSync(join(import.meta.dirname, "../../../examples/base/model/config.json"), "utf8"),
) as Record<string, unknown>;
const kinds = ["allGather", "reduceScatter", "allReduce", "allToAll", "broadcast", "message"] as const;

/** A profile in which a collective takes `start` seconds in the world of two and twice that among four. */
function profile(start: number): DeviceProfile {
  const among = (world: number | undefined, seconds: number) =>
    kinds.flatMap((kind) =>
      [2, 4]
        .filter((size) => size <= (world ?? 4))
        .map((size) => {
          const began = kind === "message" ? 1e-4 : seconds;
          return { kind, size, stride: 1, ...(world ? { world } : {}), curve: sampleCurve(began, 1e-9) };
        }),
    );
  return sampleProfile({ collectives: [...among(undefined, 2 * start), ...among(2, start)] });
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
