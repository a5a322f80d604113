import fc from "fast-check";
import { expect, test } from "vitest";
import { unwrap } from "../base/index.ts";
import { curveSeconds, fitCurve } from "./curve.ts";
import { measuredCollective } from "./profile.ts";
import {
  collectivesAmong,
  collectiveSeconds,
  gemmFeatures,
  messageSeconds,
  parseCluster,
  parseProfile,
  presetCluster,
  profileMachine,
  withProfile,
} from "./index.ts";
import { sampleProfile } from "./testing/profile.ts";

const curve = (...terms: number[]) => ({ terms, points: 4, median: 0.02, worst: 0.1 });
const PROFILE = sampleProfile({
  kernels: { gemm: { fp32: curve(1e-6, 2.5e-11, 0, 0, 0) }, stream: curve(5e-6, 1e-10) },
  collectives: [
    { kind: "allGather", size: 2, stride: 1, curve: curve(1e-4, 1e-9) },
    { kind: "allGather", size: 4, stride: 1, curve: curve(3e-4, 2e-9) },
    { kind: "message", size: 2, stride: 2, curve: curve(5e-5, 1e-9) },
  ],
});

test("a fit finds the terms that made the points, and says how far noise puts them off", () => {
  const terms = [4e-6, 2e-11, 3e-10, 0, 1e-10];
  const samples = [16, 64, 256, 1024].flatMap((m) =>
    [32, 512, 2048].flatMap((n) =>
      [64, 256, 900].map((k, i) => {
        const features = gemmFeatures(m, n, k);
        const exact = features.reduce((sum, f, j) => sum + f * (terms[j] as number), 0);
        return { features, exact, seconds: exact * (1 + (i - 1) * 0.02) };
      }),
    ),
  );
  const fitted = fitCurve(samples);
  if (!fitted) throw new Error("nothing fitted");
  for (const { features, exact } of samples) {
    expect(Math.abs(curveSeconds(fitted, features) / exact - 1)).toBeLessThan(0.03);
  }
  expect(fitted.worst).toBeGreaterThan(0.01);
  expect(fitted.worst).toBeLessThan(0.05);
});

test("terms of a fit never turn negative, whatever the points", () => {
  const point = fc.record({
    features: fc.tuple(fc.constant(1), fc.double({ min: 0, max: 1e9, noNaN: true })),
    seconds: fc.double({ min: 1e-7, max: 10, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.array(point, { minLength: 1, maxLength: 12 }), (samples) => {
      const fitted = fitCurve(samples);
      return fitted?.terms.every((term) => term >= 0 && Number.isFinite(term)) === true;
    }),
  );
});

test("what is known already is left out of the fit", () => {
  const samples = [10, 100, 1000].map((bytes) => ({
    features: [1, bytes],
    known: 5,
    seconds: 5 + 2 + 0.5 * bytes,
  }));
  const fitted = fitCurve(samples);
  expect(fitted?.terms[0]).toBeCloseTo(2, 3);
  expect(fitted?.terms[1]).toBeCloseTo(0.5, 4);
});

test("a profile is read back as it was written", () => {
  expect(unwrap(parseProfile(JSON.parse(JSON.stringify(PROFILE))))).toEqual(PROFILE);
});

test.each([
  [{ schema: "tessera.profile/v9" }, "PROFILE_SCHEMA"],
  [{ schema: undefined }, "PROFILE_SCHEMA"],
  [{ device: "cpu" }, "PROFILE_SHAPE"],
  [{ ranks: 0 }, "PROFILE_SHAPE"],
  [{ memoryBandwidth: Number.NaN }, "PROFILE_SHAPE"],
  [{ cores: "two" }, "PROFILE_SHAPE"],
  [{ peak: {} }, "PROFILE_SHAPE"],
  [{ kernels: { gemm: { fp32: curve(1, 2) } } }, "PROFILE_SHAPE"],
  [{ kernels: { gemm: { fp32: curve(-1, 2, 3, 4, 5) } } }, "PROFILE_SHAPE"],
  [{ kernels: { stencil: curve(1) } }, "PROFILE_SHAPE"],
  [{ collectives: [{ kind: "allGather", size: 0, stride: 1, curve: curve(1, 1) }] }, "PROFILE_SHAPE"],
  [{ points: null }, "PROFILE_SHAPE"],
])("a damaged profile is refused: %j", (change, code) => {
  const found = parseProfile({ ...PROFILE, ...change }, "p.yaml");
  expect(found.ok).toBe(false);
  if (found.ok) return;
  expect(found.error.code).toBe(code);
  expect(found.error.place.file).toBe("p.yaml");
  expect(found.error.entry.next?.zh).toBeTruthy();
});

test("text, numbers and lists are no profile", () => {
  for (const data of ["x", 3, null, [PROFILE]]) {
    const found = parseProfile(data);
    expect(found.ok ? "" : found.error.code).toBe("PROFILE_SHAPE");
  }
});

test("a profile of one device does not speak for another", () => {
  const h100 = presetCluster("h100", 8);
  if (!h100) throw new Error("no preset");
  const found = withProfile(h100, PROFILE);
  expect(found.ok ? "" : found.error.code).toBe("PROFILE_DEVICE");
  const gpu = {
    ...PROFILE,
    cores: null,
    device: { name: "NVIDIA H100 80GB HBM3", type: "cuda", memoryBytes: 8e10 },
  };
  expect(withProfile(h100, gpu).ok).toBe(true);
  const b200 = presetCluster("b200", 8);
  const other = b200 && withProfile(b200, gpu);
  expect(other?.ok ? "" : other?.error.code).toBe("PROFILE_DEVICE");
});

test("measured collectives answer for the groups they cover, links for the others", () => {
  const cluster = unwrap(withProfile(profileMachine(PROFILE), PROFILE));
  const group = cluster.groups[0];
  if (!group?.collectives) throw new Error("no collectives");
  const wires = {
    links: group.links,
    collectiveSeconds: cluster.collectiveSeconds,
    measured: group.collectives,
  };
  expect(collectiveSeconds(wires, "allGather", 1e6, { size: 2, stride: 1 })).toBeCloseTo(1e-4 + 1e-3);
  // Three ranks: the next larger group that was measured stands in.
  expect(collectiveSeconds(wires, "allGather", 1e6, { size: 3, stride: 1 })).toBeCloseTo(3e-4 + 2e-3);
  expect(messageSeconds(wires, 1e6, 2)).toBeCloseTo(5e-5 + 1e-3);
  const { measured: _, ...links } = wires;
  const wide = { size: 8, stride: 1 };
  expect(collectiveSeconds(wires, "allGather", 1e6, wide)).toBe(
    collectiveSeconds(links, "allGather", 1e6, wide),
  );
  expect(group.cores).toBe(2);
  expect(group.device.efficiency.origin).toBe("measured");
});

test("a world with a core for every rank has collectives of its own", () => {
  const quick = { kind: "allGather", size: 2, stride: 1, world: 2, curve: curve(1e-6, 1e-12) } as const;
  const curves = [...PROFILE.collectives, quick];
  const seconds = (ranks: number, kind: "allGather" | "message" = "allGather") =>
    measuredCollective(collectivesAmong(curves, ranks), kind, 1e6, { size: 2, stride: 1 });
  const crowded = measuredCollective(PROFILE.collectives, "allGather", 1e6, { size: 2, stride: 1 });
  expect(seconds(2)).toBeCloseTo(2e-6, 12);
  expect(seconds(4)).toBe(crowded);
  // What was not measured in the smaller world is as in the whole one.
  expect(seconds(2, "message")).toBeCloseTo(5e-5 + 1e-3);
});

test("a cluster file names a profile by its path", () => {
  const file = { groups: [{ device: "cpu", nodes: 1, devicesPerNode: 4, profile: "mine.yaml" }] };
  const asked: string[] = [];
  const read = (path: string) => {
    asked.push(path);
    return PROFILE;
  };
  const found = unwrap(parseCluster(file, "cluster.yaml", read));
  expect(asked).toEqual(["mine.yaml"]);
  expect(found.groups[0]?.device.measured).toEqual(PROFILE.kernels);
  const without = parseCluster(file, "cluster.yaml");
  expect(without.ok ? "" : without.error.code).toBe("CLUSTER_SHAPE");
});
