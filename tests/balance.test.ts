import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const ROOT = resolve(import.meta.dirname, "..");
const LOADS = {
  layers: {
    3: [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
    4: [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
  },
};
const SHAPE = ["--ranks", "8", "--slots", "16"];
let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tessera-balance-"));
  writeFileSync(join(folder, "loads.json"), JSON.stringify(LOADS));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const balance = (...args: string[]) =>
  spawnSync(process.execPath, [join(ROOT, "bin/tessera.mjs"), "balance", ...args], {
    cwd: folder,
    encoding: "utf8",
    env: { PATH: process.env["PATH"], LANG: "en_US.UTF-8", NO_COLOR: "1" },
  });

test("loads in, picture and placement out", () => {
  const done = balance("loads.json", ...SHAPE, "--out", "placement.json");
  expect(done.status).toBe(0);
  expect(done.stdout).toContain("layer 4 (the worst before), load of each rank");
  expect(done.stdout).toMatch(/4 +1\.837 +1\.190 +1\.000 +1\.1903/);
  expect(done.stderr).toContain("placement written to placement.json");
  const written = JSON.parse(readFileSync(join(folder, "placement.json"), "utf8"));
  expect([written.schema, Object.keys(written.layers)]).toEqual(["tessera.placement/v1", ["3", "4"]]);

  const again = balance("loads.json", ...SHAPE, "--previous", "placement.json", "--json");
  const answer = JSON.parse(again.stdout);
  expect([again.status, answer.schema]).toEqual([0, "tessera.balance/v1"]);
  expect(answer.forecast.traffic.transfers).toBe(0);
  expect(answer.placement.layers).toEqual(written.layers);
});

test("EPLB's maps come out as an inference stack reads them", () => {
  const done = balance("loads.json", ...SHAPE, "--nodes", "2", "--groups", "4", "--format", "eplb", "--json");
  const { layers, placement } = JSON.parse(done.stdout);
  expect(layers.map((layer: { after: number }) => layer.after.toFixed(4))).toEqual(["1.1694", "1.2422"]);
  expect(placement.physical_to_logical_map.map((row: number[]) => row.length)).toEqual([16, 16]);
  expect(placement.logical_count[0].reduce((a: number, b: number) => a + b, 0)).toBe(16);
});

test("a slower rank gets less", () => {
  const done = balance("loads.json", ...SHAPE, "--speed", "2=0.5", "--json");
  const { placement } = JSON.parse(done.stdout);
  const row: number[] = placement.layers[3];
  const loadOf = (r: number) =>
    row
      .slice(2 * r, 2 * r + 2)
      .reduce((sum, e) => sum + (LOADS.layers[3][e] as number) / row.filter((f) => f === e).length, 0);
  expect(loadOf(2)).toBe(Math.min(...Array.from({ length: 8 }, (_, r) => loadOf(r))));
});

test("bad input is a coded error in both languages and writes nothing", () => {
  writeFileSync(join(folder, "bad.csv"), "layer,expert,load\n0,0,5\n0,1,-1\n");
  writeFileSync(join(folder, "other.json"), '{"layers":{"0":[0,1]}}');
  const cases: [string[], string, number][] = [
    [["bad.csv", "--ranks", "2"], "EXPERTS_LOADS_VALUE", 2],
    [["loads.json", ...SHAPE, "--speed", "8=2"], "EXPERTS_RANK", 2],
    [["loads.json", ...SHAPE, "--previous", "other.json"], "EXPERTS_PLACEMENT_OTHER", 2],
  ];
  for (const [args, code, exit] of cases) {
    const done = balance(...args, "--out", "never.json", "--json");
    const error = JSON.parse(done.stdout);
    if (code === "EXPERTS_LOADS_VALUE") expect(error.place).toEqual({ file: "bad.csv", line: 3 });
    expect([error.code, done.status]).toEqual([code, exit]);
    expect(done.stderr).toContain(`${code}: `);
    expect(error.message.zh).not.toBe(error.message.en);
  }
  expect(() => readFileSync(join(folder, "never.json"))).toThrow();
});
