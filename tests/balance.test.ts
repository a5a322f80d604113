import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { unwrap } from "../src/base/index.ts";
import {
  type ForesightOptions,
  loadsOf,
  packWindow,
  placeTogether,
  readWindow,
  type Window,
} from "../src/cli/foresight.ts";
import { makeShape, type ShapeRequest, startPlacement } from "../src/experts/index.ts";

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
    timeout: 170_000,
    env: { PATH: process.env["PATH"], LANG: "en_US.UTF-8", NO_COLOR: "1" },
  });

test("loads in, picture and placement out", () => {
  const done = balance("loads.json", ...SHAPE, "--out", "placement.json");
  expect(done.status).toBe(0);
  expect(done.stdout).toContain("layer 4 (the worst before), load of each rank");
  expect(done.stdout).toMatch(/4 +1\.837 +1\.190 +1\.190 +1\.0003/);
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

test("an EPLB map with an expert twice on a rank is parted, and that is told and counted", () => {
  const eplb = join(folder, "twins.json");
  const made = balance("loads.json", ...SHAPE, "--format", "eplb", "--out", "twins.json");
  expect(made.status).toBe(0);
  const maps = JSON.parse(readFileSync(eplb, "utf8"));
  const row: number[] = maps.physical_to_logical_map[0];
  const spare = row.findIndex((e, s) => row.indexOf(e) !== s);
  // Its rank's other slot, once more: the expert that stood here has another place.
  row[spare] = row[spare ^ 1] as number;
  writeFileSync(eplb, JSON.stringify(maps));
  const done = balance("loads.json", ...SHAPE, "--previous", "twins.json", "--json");
  const answer = JSON.parse(done.stdout);
  expect([done.status, answer.twins]).toEqual([0, 1]);
  expect(done.stderr).toContain("1 slots held an expert that their rank has already");
  expect(answer.layers[0].transfers).toBeGreaterThanOrEqual(1);
  for (const slots of Object.values<number[]>(answer.placement.layers)) {
    for (let r = 0; r < 8; r++) expect(slots[2 * r]).not.toBe(slots[2 * r + 1]);
  }
  // In a placement of our own it is a mistake.
  const own = { layers: { 3: row, 4: maps.physical_to_logical_map[1] } };
  writeFileSync(join(folder, "own.json"), JSON.stringify(own));
  expect(balance("loads.json", ...SHAPE, "--previous", "own.json").stderr).toContain(
    "EXPERTS_PLACEMENT_INVALID",
  );
});

test("a bound that is high is explained, and a reader that closes the pipe early is no crash", () => {
  writeFileSync(join(folder, "heavy.json"), "[[100,1,1,1]]");
  const done = balance("heavy.json", "--ranks", "4");
  expect(done.stderr).toContain("layer 0 cannot be below 3.883: expert 0 is too heavy for these slots");
  const program = `"${process.execPath}" "${join(ROOT, "bin/tessera.mjs")}" balance loads.json ${SHAPE.join(" ")}`;
  const piped = spawnSync("sh", ["-c", `${program} | true`], {
    cwd: folder,
    encoding: "utf8",
    timeout: 170_000,
  });
  expect(piped.stderr).not.toContain("EPIPE");
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

test("foresight: a pre-scan and token ids give placement, nodes of samples and micro-batches", () => {
  // Two kinds of samples of 4 tokens; each kind chooses from its own half of 8 experts, which are scattered over the ids.
  const halves = [
    [0, 2, 5, 7],
    [1, 3, 4, 6],
  ] as const;
  const chosen = Array.from({ length: 16 * 4 }, (_, t) => {
    const half = halves[Math.floor(t / 4) % 2] as readonly number[];
    return [half[t % 4], half[(t + 1) % 4]];
  }).flat();
  writeFileSync(
    join(folder, "scan.ndjson"),
    `${JSON.stringify({ layer: 3, experts: 8, k: 2, length: 4, chosen })}\n`,
  );
  const table = Array.from({ length: 10 }, (_, id) => [
    halves[id % 2]?.[(id >> 1) % 4],
    halves[id % 2]?.[((id >> 1) + 1) % 4],
  ]);
  writeFileSync(join(folder, "table.json"), JSON.stringify({ experts: 8, layers: { 0: table } }));
  const sample = (n: number) => JSON.stringify(Array.from({ length: 4 }, (_, i) => (2 * i + (n % 2)) % 10));
  writeFileSync(join(folder, "tokens.ndjson"), Array.from({ length: 16 }, (_, n) => sample(n)).join("\n"));
  const scans = ["--trace", "scan.ndjson", "--tokens", "tokens.ndjson", "--hash-table", "table.json"];
  const done = balance(
    ...scans,
    "--ranks",
    "4",
    "--nodes",
    "2",
    "--co-activation",
    "--micro-batches",
    "2",
    "--order",
    "order.json",
    "--json",
  );
  expect([done.status, done.stderr]).toEqual([
    0,
    expect.stringContaining("sample order written to order.json"),
  ]);
  const answer = JSON.parse(done.stdout);
  expect(answer.layers.map((row: { layer: number }) => row.layer)).toEqual([0, 3]);
  for (const { remoteBefore, remoteAfter } of answer.layers) {
    expect(remoteBefore).toBeGreaterThan(0.5);
    expect(remoteAfter).toBe(0);
  }
  const order = JSON.parse(readFileSync(join(folder, "order.json"), "utf8"));
  expect(order.schema).toBe("tessera.sample-order/v1");
  expect(new Set(order.homes.filter((_: number, n: number) => n % 2 === 0)).size).toBe(1);
  expect(order.homes[1]).toBe(1 - order.homes[0]);
  expect(order.microBatches.flat().sort((a: number, b: number) => a - b)).toEqual([...Array(16).keys()]);
  expect(answer.foresight.slowestAfter).toBeLessThanOrEqual(answer.foresight.slowestBefore);
  const half = balance(...scans, "--ranks", "4", "--window", "0:8");
  expect([half.status, half.stderr]).toEqual([0, expect.stringContaining("8 samples, 32 tokens")]);
  // Four experts and four spare slots a node: two of those for the other node's experts.
  const across = balance(
    ...scans,
    "--ranks",
    "4",
    "--nodes",
    "2",
    "--slots",
    "16",
    "--co-activation",
    "--json",
  );
  for (const slots of Object.values<number[]>(JSON.parse(across.stdout).placement.layers)) {
    expect([slots.slice(0, 8), slots.slice(8)].map((node) => new Set(node).size)).toEqual([6, 6]);
  }
});

test("bad input is a coded error in both languages and writes nothing", () => {
  writeFileSync(join(folder, "bad.csv"), "layer,expert,load\n0,0,5\n0,1,-1\n");
  writeFileSync(join(folder, "other.json"), '{"layers":{"0":[0,1]}}');
  writeFileSync(join(folder, "twice.ndjson"), '{"layer":0,"experts":4,"k":2,"chosen":[0,0]}\n');
  const cases: [string[], string, number][] = [
    [["bad.csv", "--ranks", "2"], "EXPERTS_LOADS_VALUE", 2],
    [["loads.json", "--ranks", "8", "--slots", "8"], "EXPERTS_FEW_SLOTS", 5],
    [["loads.json", ...SHAPE, "--speed", "8=2"], "EXPERTS_RANK", 2],
    [["loads.json", ...SHAPE, "--previous", "other.json"], "EXPERTS_PLACEMENT_OTHER", 2],
    [["--trace", "twice.ndjson", "--ranks", "2"], "EXPERTS_TRACE", 2],
    [["--ranks", "2"], "EXPERTS_OPTION", 2],
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

test("options that look ahead and do not fit together are refused", () => {
  const line = { layer: 0, experts: 4, k: 1, length: 1, chosen: [0, 1, 2, 3] };
  const read = (file: string) => JSON.stringify(file === "bare" ? { ...line, length: undefined } : line);
  const cases: [ForesightOptions, string][] = [
    [{ tokens: "a" }, "--tokens"],
    [{ hashTable: "a" }, "--hash-table"],
    [{ microBatches: 2 }, "--micro-batches"],
    [{ window: [0, 1] }, "--window"],
    [{ coActivation: true }, "--co-activation"],
    [{ trace: "bare", microBatches: 2 }, "--micro-batches"],
    [{ trace: "scan", window: [2, 9] }, "--window"],
    [{ trace: "scan", window: [2, 2] }, "--window"],
  ];
  for (const [options, option] of cases) {
    const done = readWindow(options, read);
    expect([options, done.ok ? "ok" : done.error.code, done.ok ? "" : done.error.params["option"]]).toEqual([
      options,
      "EXPERTS_OPTION",
      option,
    ]);
  }
  const ahead = unwrap(readWindow({ trace: "scan", window: [1, 4] }, read)) as Window;
  const loads = unwrap(loadsOf(ahead));
  expect([...loads.values]).toEqual([0, 1, 1, 1]);
  const placed = (request: Partial<ShapeRequest>) => {
    const shape = unwrap(makeShape({ experts: 4, ranks: 2, ...request }));
    return placeTogether(ahead, loads, shape, 1.003, 64).ok;
  };
  expect([
    placed({ nodes: 2 }),
    placed({}),
    placed({ nodes: 2, groups: 2 }),
    placed({ nodes: 2, speed: [1, 2] }),
  ]).toEqual([true, false, false, false]);
  const start = startPlacement([0], unwrap(makeShape({ experts: 4, ranks: 2 })));
  expect([packWindow(ahead, start, 2).ok, packWindow(ahead, start, 3).ok]).toEqual([false, true]);
});
