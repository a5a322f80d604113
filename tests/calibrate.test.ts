import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { AppendLog } from "../src/base/node.ts";
import { TesseraError } from "../src/base/index.ts";
import { Fleet } from "../src/cli/calibrate/fleet.ts";
import type { DeviceProfile } from "../src/cluster/index.ts";

const ROOT = resolve(import.meta.dirname, "..");
const MAIN = join(ROOT, "bin/tessera.mjs");
const MODEL = join(ROOT, "examples/base/model");
let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "calibrate-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function tessera(args: readonly string[], env: Record<string, string> = {}) {
  const run = spawnSync(process.execPath, [MAIN, ...args], {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, ...env },
    timeout: 170_000,
  });
  return { code: run.status, out: run.stdout, err: run.stderr };
}

/** Small enough for seconds: single kernels, and collectives of two ranks. */
const QUICK = [
  "calibrate",
  "--ranks",
  "2",
  "--points",
  "9",
  "--sequence",
  "32",
  "--micro-batch",
  "1",
  "--out",
  "p.json",
];

const logFile = () => {
  const work = join(folder, ".tessera/calibrate");
  const inside = existsSync(work) ? readdirSync(work)[0] : undefined;
  return inside === undefined ? undefined : join(work, inside, "points.jsonl");
};
const finished = () => {
  const path = logFile();
  return path && existsSync(path) ? AppendLog.read<{ key: string }>(path) : [];
};

/** Command lines of processes whose working directory is `path`; one that is gone but not yet reaped has none. */
const processesIn = (path: string): string[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`) === path
          ? [readFileSync(`/proc/${pid}/cmdline`, "utf8")]
          : [];
      } catch {
        return [];
      }
    });

test("a profile is measured, kept, taken up again, and read by the planner", () => {
  const first = tessera([...QUICK, "--json", "--lang", "en"]);
  expect(first.code, first.err).toBe(0);
  const profile = JSON.parse(readFileSync(join(folder, "p.json"), "utf8")) as DeviceProfile;
  expect(profile.schema).toBe("tessera.profile/v1");
  expect(profile.points).toHaveLength(9);
  expect(profile.complete).toBe(true);
  expect(JSON.parse(first.out)).toMatchObject({ schema: "tessera.profile/v1", failed: [] });
  for (const point of profile.points) {
    expect(point.seconds).toBeGreaterThan(0);
    expect(point.samples).toBeGreaterThanOrEqual(5);
  }
  expect(profile.collectives.map(({ kind }) => kind)).toContain("allGather");
  const before = readFileSync(logFile() ?? "", "utf8");

  // Again: nothing is left to measure, so the numbers are the same ones.
  const again = tessera([...QUICK, "--lang", "zh"]);
  expect(again.code, again.err).toBe(0);
  expect(again.err).toContain("已寫入");
  expect(readFileSync(logFile() ?? "", "utf8")).toBe(before);
  const { made: _, ...same } = JSON.parse(readFileSync(join(folder, "p.json"), "utf8")) as DeviceProfile;
  expect(profile).toMatchObject(same);

  // More points than before: only those are measured, into the same log.
  const more = tessera(QUICK.map((word) => (word === "9" ? "11" : word)));
  expect(more.code, more.err).toBe(0);
  expect(readFileSync(logFile() ?? "", "utf8").startsWith(before)).toBe(true);
  expect(finished()).toHaveLength(11);

  const plan = (profiled: string[]) => {
    const args = ["plan", "--model", MODEL, "--engine", "tessera", "--precision", "fp32", "--sequence", "64"];
    const ran = tessera([...args, "--batch", "8", ...profiled, "--json"]);
    expect(ran.code, ran.err).toBe(0);
    return JSON.parse(ran.out) as { time: { seconds: number }; cluster: { devices: number } };
  };
  const measured = plan(["--profile", "p.json"]);
  expect(measured.cluster.devices).toBe(2);
  expect(measured.time.seconds).not.toBe(plan(["--cluster", "cpu:2"]).time.seconds);
  writeFileSync(
    join(folder, "cluster.yaml"),
    "groups:\n  - device: cpu\n    nodes: 1\n    devicesPerNode: 2\n    profile: p.json\n",
  );
  expect(plan(["--cluster", "cluster.yaml"]).time.seconds).toBeGreaterThan(0);
});

test("a budget that ends early leaves a profile that says so, or says what is missing", () => {
  const none = tessera([...QUICK, "--minutes", "0.0001", "--lang", "en"]);
  expect(none.code).toBe(1);
  expect(none.err).toContain("CALIBRATE_TOO_FEW");
  expect(none.err).toContain("next:");
  expect(existsSync(join(folder, "p.json"))).toBe(false);
});

test("Ctrl-C keeps what is finished, leaves no process, and the next call goes on", async () => {
  // So many points that it does not come to their end by itself.
  const many = QUICK.map((word) => (word === "9" ? "200" : word));
  const child = spawn(process.execPath, [MAIN, ...many, "--json"], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => said.push(chunk));
  const closed = new Promise<number | null>((done) => child.on("close", done));
  while (finished().length < 2) await new Promise((done) => setTimeout(done, 20));
  expect(processesIn(folder).length).toBeGreaterThan(1);
  child.kill("SIGINT");
  expect(await closed).toBe(130);
  const error = JSON.parse(Buffer.concat(said).toString("utf8")) as {
    code: string;
    params: { done: number };
  };
  expect(error.code).toBe("CALIBRATE_INTERRUPTED");
  const kept = finished();
  expect(error.params.done).toBe(kept.length);
  expect(existsSync(join(folder, "p.json"))).toBe(false);
  // Measuring processes work in the folder of the command.
  expect(processesIn(folder)).toEqual([]);
  const rest = tessera(QUICK);
  expect(rest.code, rest.err).toBe(0);
  expect(finished().slice(0, kept.length)).toEqual(kept);
});

test("a rank that dies in a collective is named with the point", async () => {
  const stop = new AbortController();
  const fleet = await Fleet.start(2, true, process.env, stop.signal);
  try {
    const point = { op: "allReduce", size: 2, stride: 1, elements: 1 << 20 };
    const good = await fleet.run(point, 1, 2);
    expect(good.every((answer) => "wall" in answer && answer.wall.length === 2)).toBe(true);
    const running = fleet.run(point, 100_000, 2);
    setTimeout(() => process.kill(fleet.pids[1] ?? 0, "SIGKILL"), 300);
    const error = await running.then(
      () => undefined,
      (cause: unknown) => cause,
    );
    expect(error).toBeInstanceOf(TesseraError);
    const { code, place, params } = error as TesseraError;
    expect(code).toBe("CALIBRATE_RANK_DIED");
    expect(place.rank).toBe(1);
    expect(params["how"]).toBe("SIGKILL");
    expect(params["point"]).toContain("allReduce");
  } finally {
    await fleet.stop();
  }
});

test("a point that a device cannot run is told, and does not end the others", async () => {
  const stop = new AbortController();
  const fleet = await Fleet.start(1, false, process.env, stop.signal);
  try {
    const [bad] = await fleet.run({ op: "gemm", m: -1, n: 4, k: 4 }, 1, 1);
    expect(bad && "problem" in bad ? bad.problem : "").toMatch(/RuntimeError|ENGINE/);
    const [good] = await fleet.run({ op: "gemm", m: 8, n: 4, k: 4 }, 1, 3);
    expect(good && "wall" in good ? good.wall : []).toHaveLength(3);
  } finally {
    await fleet.stop();
  }
  expect(fleet.pids.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
});

test("no Python, a Python without torch, and nonsense options are coded errors", () => {
  const absent = tessera(["calibrate", "--lang", "zh"], { TESSERA_VENV: join(folder, "nowhere") });
  expect(absent.code).toBe(3);
  expect(absent.err).toContain("RUN_PYTHON");
  expect(absent.err).toContain("下一步");

  mkdirSync(join(folder, "venv/bin"), { recursive: true });
  writeFileSync(
    join(folder, "venv/bin/python"),
    "#!/bin/sh\necho \"ModuleNotFoundError: No module named 'torch'\" >&2\nexit 1\n",
  );
  chmodSync(join(folder, "venv/bin/python"), 0o755);
  const torchless = tessera(["calibrate", "--lang", "en"], { TESSERA_VENV: join(folder, "venv") });
  expect(torchless.code).toBe(3);
  expect(torchless.err).toContain("CALIBRATE_START");
  expect(torchless.err).toContain("No module named 'torch'");

  for (const [option, text] of [
    ["--ranks", "0"],
    ["--minutes", "soon"],
    ["--points", "1.5"],
    ["--sequence", "-3"],
  ] as const) {
    const wrong = tessera(["calibrate", option, text, "--lang", "en"]);
    expect(wrong.code).toBe(2);
    expect(wrong.err).toContain("CALIBRATE_NUMBER");
    expect(wrong.err).toContain(option);
  }
});

test("a profile that cannot be used is refused with its file", () => {
  const plan = ["plan", "--model", MODEL, "--batch", "8", "--sequence", "64", "--lang", "en"];
  writeFileSync(join(folder, "old.yaml"), "schema: tessera.profile/v0\n");
  const old = tessera([...plan, "--profile", "old.yaml"]);
  expect(old.code).toBe(2);
  expect(old.err).toContain("PROFILE_SCHEMA");
  expect(old.err).toContain("old.yaml");
  writeFileSync(join(folder, "broken.yaml"), "schema: [\n");
  const broken = tessera([...plan, "--profile", "broken.yaml"]);
  expect(broken.code).toBe(2);
  expect(broken.err).toContain("PLAN_YAML");
  expect(broken.err).toMatch(/broken\.yaml:\d+/);
  const absent = tessera([...plan, "--profile", "nothing.yaml"]);
  expect(absent.err).toContain("PLAN_NO_FILE");
});
