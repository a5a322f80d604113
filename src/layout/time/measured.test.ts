import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { unwrap } from "../../base/index.ts";
import { type DeviceProfile, profileMachine, withProfile } from "../../cluster/index.ts";
import { sampleCurve, sampleProfile } from "../../cluster/testing/profile.ts";
import { parseModel } from "../../model/index.ts";
import { evenStages, FLOAT32, type Layout, SINGLE, type Training } from "../layout.ts";
import { engineTraits, STEP_TERMS, TimeModel } from "./index.ts";
import { gemmSeconds } from "./kernels.ts";

const config = join(import.meta.dirname, "../../../examples/base/model/config.json");
const model = unwrap(parseModel(readFileSync(config, "utf8"), { file: config }));

function profile(cores: number | null, start = 1e-4): DeviceProfile {
  const kinds = ["allGather", "reduceScatter", "allReduce", "allToAll", "broadcast", "message"] as const;
  return sampleProfile({
    cores,
    collectives: kinds.flatMap((kind) =>
      [2, 4].map((size) => ({ kind, size, stride: 1, curve: sampleCurve(start, 1e-9) })),
    ),
  });
}

const training: Training = {
  sequence: 256,
  microBatch: 4,
  globalBatch: 16,
  precision: FLOAT32,
  optimizer: "adamw",
  mtp: true,
};
const layoutOf = (shape: Partial<Layout>): Layout => {
  const degrees = { ...SINGLE, ...shape };
  const stages = evenStages(model.layers.length, degrees.pp);
  return { ...degrees, zero: 3, reshardAfterForward: degrees.pp === 1, stages };
};
function step(shape: Partial<Layout>, cores: number | null, start?: number) {
  const given = profile(cores, start);
  const cluster = unwrap(withProfile(profileMachine(given), given));
  return new TimeModel(model, cluster, training, engineTraits("tessera", training)).step(
    layoutOf(shape),
    true,
  );
}

test("a measured curve answers for its kernel", () => {
  const given = profile(2);
  const device = unwrap(withProfile(profileMachine(given), given)).groups[0]?.device;
  if (!device) throw new Error("no device");
  const [m, n, k] = [100, 30, 70];
  expect(gemmSeconds(device, "fp32", m, n, k)).toBeCloseTo(
    1e-6 + 2e-11 * m * n * k + 1e-10 * (m * n + m * k + n * k),
    12,
  );
});

const COMPUTE = ["matrix", "grouped", "attention", "vector", "recompute", "optimizer"] as const;

test("ranks that share cores take turns: all of their work has to be done on the cores there are", () => {
  for (const shape of [{ dpShard: 4, ep: 4 }, { pp: 2, dpShard: 2, ep: 2 }, { pp: 4 }]) {
    const own = step(shape, 4);
    const shared = step(shape, 2);
    const alone = step(shape, 1);
    expect(step(shape, null).seconds).toBe(own.seconds);
    // Where one stage holds the others up, two cores may be enough for all.
    expect(shared.seconds).toBeGreaterThanOrEqual(own.seconds);
    expect(alone.seconds).toBeGreaterThan(shared.seconds);
    for (const time of [own, shared, alone]) {
      const sum = STEP_TERMS.reduce((all, term) => all + time.breakdown[term], 0);
      expect(sum).toBeCloseTo(time.seconds, 9);
    }
  }
  // Ranks in step leave no gap for one another: compute takes exactly its turns.
  const compute = (cores: number) => {
    const { breakdown } = step({ dpShard: 4, ep: 4 }, cores);
    return COMPUTE.reduce((sum, term) => sum + breakdown[term], 0);
  };
  expect(compute(2) / compute(4)).toBeCloseTo(2, 1);
  // A pipeline's waiting ranks leave their core to others, so it loses less.
  const pipeline = step({ pp: 4 }, 2).seconds / step({ pp: 4 }, 4).seconds;
  expect(pipeline).toBeLessThan(1.9);
});

test("what a collective takes to start weighs by how often it is called", () => {
  const quick = step({ dpShard: 4, ep: 4 }, 4, 1e-6);
  const slow = step({ dpShard: 4, ep: 4 }, 4, 1e-3);
  const layers = model.layers.length + model.mtp.length;
  const micros = 1;
  // Dispatch, combine and counts forward, two exchanges backward, in every expert layer.
  const least = (1e-3 - 1e-6) * layers * micros * 5;
  expect(slow.seconds - quick.seconds).toBeGreaterThan(least * 0.99);
});
