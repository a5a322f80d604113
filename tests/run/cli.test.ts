import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  type AgentFile,
  endAgent,
  isAlive,
  paths,
  readControllerFile,
  readJournal,
} from "../../src/run/index.ts";
import { processId } from "../../src/run/processes.ts";
import { sampleCheckpoint } from "../../src/run/checkpoint/testing/sample.ts";
import { fakeRecipe, sleep, until } from "../fixtures/run.ts";

const BIN = join(import.meta.dirname, "../../bin/tessera.mjs");
const ZYGOTE = join(import.meta.dirname, "../fixtures/fake-zygote.mjs");

let folder: string;
let children: ChildProcess[];

/** A Python environment whose python is `script`. */
function environment(script: string): string {
  const venv = mkdtempSync(join(folder, "venv-"));
  mkdirSync(join(venv, "bin"));
  writeFileSync(join(venv, "bin", "python"), `#!/bin/sh\n${script}\n`);
  chmodSync(join(venv, "bin", "python"), 0o755);
  return venv;
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tessera-cli-"));
  children = [];
  fakeRecipe(folder);
});
afterEach(async () => {
  for (const child of children) child.kill("SIGKILL");
  for (const run of runFolders()) {
    const agent = agentOf(run);
    if (agent) endAgent(agent);
  }
  await sleep(50);
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

const runFolders = (): string[] => {
  const runs = join(folder, "runs", "fake");
  return existsSync(runs) ? readdirSync(runs).map((id) => join(runs, id)) : [];
};
const agentOf = (run: string): AgentFile | undefined => {
  const file = join(run, "agents", "0.json");
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as AgentFile) : undefined;
};

const env = (more: Record<string, string> = {}) => ({
  ...process.env,
  LANG: "C",
  TESSERA_LANG: "en",
  TESSERA_VENV: environment(`exec "${process.execPath}" "${ZYGOTE}" "$4" "$5"`),
  ...more,
});

function tessera(
  args: string[],
  more: Record<string, string> = {},
): { code: number | null; out: string; err: string } {
  const done = spawnSync(process.execPath, [BIN, ...args], {
    cwd: folder,
    env: env(more),
    encoding: "utf8",
    timeout: 90_000,
  });
  return { code: done.status, out: done.stdout, err: done.stderr };
}

type Live = { child: ChildProcess; err: () => string; out: () => string; ended: Promise<number | null> };
function start(args: string[], more: Record<string, string> = {}): Live {
  const child = spawn(process.execPath, [BIN, ...args], {
    cwd: folder,
    env: env(more),
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  let err = "";
  let out = "";
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  return {
    child,
    err: () => err,
    out: () => out,
    ended: new Promise((resolve) => child.on("close", resolve)),
  };
}

const json = (text: string) => JSON.parse(text) as Record<string, unknown>;

test("a run from end to end: progress on stderr, one document on stdout, everything can be asked afterwards", () => {
  const run = tessera(["run", "recipe.yaml", "--json"]);
  expect(run.err).toMatch(/\[3\/\d\] train/);
  expect(run.code).toBe(0);
  expect(json(run.out)).toMatchObject({
    schema: "tessera.run/v1",
    outcome: "done",
    outputs: { train: { step: 40 } },
  });
  const again = tessera(["run", "recipe.yaml"]);
  expect(again.code).toBe(0);
  expect(again.err).toContain("done before");
  expect(json(tessera(["ps", "--json"]).out)).toMatchObject({
    schema: "tessera.ps/v1",
    runs: [{ name: "fake", condition: "done", step: 40 }],
  });
  expect(tessera(["ps"]).out).toMatch(/fake\/\w+ +done +\w+ +40/);
  expect(json(tessera(["status", "fake", "--json"]).out)).toMatchObject({
    schema: "tessera.status/v1",
    condition: "done",
    step: { step: 40 },
  });
  expect(tessera(["status", "--lang", "zh"]).out).toContain("最新檢查點：第 40 步");
  expect(tessera(["logs"]).out).toContain("attempt 1: 4 ranks, from step 0");
  expect(json(tessera(["logs", "--rank", "2", "--json"]).out)).toMatchObject({
    schema: "tessera.logs/v1",
    lines: [],
  });
  const stop = tessera(["stop"]);
  expect(stop).toMatchObject({ code: 2 });
  expect(stop.err).toContain("RUN_NOT_RUNNING");
});

test.each([
  [
    "unknown key",
    "globalBatch: 8",
    "globalBatches: 8",
    2,
    /RECIPE_UNKNOWN_KEY.*did you mean "globalBatch"\?\n {2}at: .*recipe.yaml:\d+:\d+/,
  ],
  ["wrong type", "steps: 40", "steps: many", 2, /RECIPE_TYPE.*stages.0.steps must be number/],
  [
    "too little memory",
    "sequenceLength: 8",
    "sequenceLength: 100000000",
    5,
    /PLAN_NO_ROOM_HERE: the model does not fit.*short by/,
  ],
  ["missing data", "train.safetensors", "none.safetensors", 2, /RECIPE_PATH.*data.packed names none/],
  ["missing model", "base: base", "base: nowhere", 2, /RECIPE_PATH.*model.base names nowhere/],
  ["impossible layout", "ep: 2", "ep: 3", 5, /RECIPE_LAYOUT.*ep 3/],
  ["more stages than layers", "pp: 2", "pp: 8", 2, /RUN_MODEL.*pp x vpp = 8/],
])("bad input: %s", (_name, from, to, code, words) => {
  const file = join(folder, "recipe.yaml");
  const text = readFileSync(file, "utf8");
  expect(text).toContain(from);
  writeFileSync(file, text.replace(from, to));
  const run = tessera(["run", "recipe.yaml"]);
  expect(run.err).toMatch(words);
  expect(run.err).toContain("next: ");
  expect(run.code).toBe(code);
});

test("no recipe, no run, no verb", () => {
  expect(tessera(["run", "none.yaml"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("RECIPE_FILE") as string,
  });
  expect(tessera(["status", "none"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("RUN_NOT_FOUND") as string,
  });
  expect(tessera(["resume"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("tessera ps") as string,
  });
  expect(tessera(["ps"]).code).toBe(0);
  expect(tessera(["fly"]).code).toBe(2);
});

test("no Python and a Python without torch: exit 3, the cause, the mend; the doctor says the same", () => {
  const none = { TESSERA_VENV: join(folder, "nowhere") };
  expect(tessera(["run", "recipe.yaml"], none)).toMatchObject({
    code: 3,
    err: expect.stringMatching(/RUN_PYTHON[^]*tessera setup/) as string,
  });
  const sick = tessera(["doctor", "--json"], none);
  expect(sick.code).toBe(3);
  expect(json(sick.out)).toMatchObject({ schema: "tessera.doctor/v1", ok: false });
  expect(sick.out).toContain("tessera setup");
  const torchless = {
    TESSERA_VENV: environment("echo \"ModuleNotFoundError: No module named 'torch'\" >&2; exit 1"),
  };
  const run = tessera(["run", "recipe.yaml"], torchless);
  expect(run).toMatchObject({
    code: 3,
    err: expect.stringMatching(/RUN_ENGINE[^]*No module named 'torch'/) as string,
  });
  expect(tessera(["run", "recipe.yaml", "--lang", "zh"], torchless).err).toContain("引擎無法啟動");
  expect(tessera(["run", "recipe.yaml"], { FAKE_TORCH: "2.1.0" })).toMatchObject({
    code: 3,
    err: expect.stringMatching(/RUN_ENGINE[^]*torch 2\.1\.0 is older than 2\.10\n {2}next: /) as string,
  });
  const old = environment(
    `echo '{"kind":"result","python":"3.11","torch":"2.1.0","transformers":"5.23.0","safetensors":"0.8","gloo":true,"devices":[]}'`,
  );
  const doctor = tessera(["doctor"], { TESSERA_VENV: old });
  expect(doctor.code).toBe(3);
  expect(doctor.out).toMatch(/✗ +torch +2\.1\.0 +.*pip install -r/);
});

test("export: the newest checkpoint becomes a folder of tensors; one that is not whole is named with the way on", () => {
  expect(tessera(["run", "recipe.yaml"]).code).toBe(0);
  const [run = ""] = runFolders();
  expect(tessera(["export"])).toMatchObject({
    code: 1,
    err: expect.stringMatching(/RUN_CHECKPOINT_DAMAGED: .*manifest\.json[^]*next: .*--step/) as string,
  });
  expect(tessera(["export", "--lang", "zh"]).err).toContain("已損壞");
  const { checkpoint } = sampleCheckpoint(folder);
  renameSync(checkpoint, join(run, "checkpoints", "step-00000099"));
  const done = tessera(["export", "--json", "--dtype", "bfloat16", "--out", "open"]);
  expect(done.code).toBe(0);
  expect(done.err).toMatch(/export {2}MiB 1\/1 {2}100 %/);
  expect(json(done.out)).toMatchObject({ schema: "tessera.export/v1", tensors: 5, shards: 1, bytes: 48 });
  expect(readdirSync(join(folder, "open")).sort()).toEqual(["config.json", "model.safetensors"]);
  expect(tessera(["export", "--out", "open"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("EXPORT_EXISTS") as string,
  });
});

/** Too slow to end by itself before it is stopped. */
const SLOW = { FAKE_STEP_MS: "1000" };

test.each([
  "",
  "] plan",
  "] train",
  "step 1",
])('Ctrl-C after "%s": exit 130, nothing left behind, resume ends the run', async (words) => {
  const live = start(["run", "recipe.yaml"], SLOW);
  await (words ? until(() => live.err().includes(words)) : sleep(50));
  live.child.kill("SIGINT");
  const code = await live.ended;
  // Before the command line listens, the signal's own effect ends it.
  expect(code === 130 || (code === null && words === "")).toBe(true);
  for (const run of runFolders()) {
    const agent = agentOf(run);
    if (agent) await until(() => !isAlive(agent) && !agent.ranks.some(isAlive));
  }
  const on = words === "" ? tessera(["run", "recipe.yaml"]) : tessera(["resume"]);
  expect(on.code).toBe(0);
  expect(json(tessera(["status", "--json"]).out)).toMatchObject({ condition: "done", step: { step: 40 } });
});

test("Ctrl-C twice stops at once, though ranks do not hear", async () => {
  const live = start(["run", "recipe.yaml"], { FAKE: '{"deafToStop":true,"holdAt":2,"attempts":[1]}' });
  await until(() => live.err().includes("step"));
  live.child.kill("SIGINT");
  await until(() => live.err().includes("stopping: saving"));
  // Two presses within a moment are one.
  await sleep(400);
  live.child.kill("SIGINT");
  expect(await live.ended).toBe(130);
  const [run = ""] = runFolders();
  expect(readJournal(run).findLast((event) => event.kind === "stopAsked")).toMatchObject({ now: true });
  // It came to its end: a process that gives up waiting writes none.
  expect(readJournal(run).at(-1)).toMatchObject({ kind: "ended", outcome: "stopped" });
  expect(isAlive(agentOf(run) as AgentFile)).toBe(false);
});

test("a second controller is refused; stop works from another terminal", async () => {
  const live = start(["run", "recipe.yaml"], SLOW);
  await until(() => live.err().includes("step"));
  const second = tessera(["run", "recipe.yaml"]);
  expect(second).toMatchObject({
    code: 2,
    err: expect.stringMatching(new RegExp(`RUN_LOCKED[^]*pid ${live.child.pid}`)) as string,
  });
  expect(json(tessera(["ps", "--json"]).out)).toMatchObject({ runs: [{ condition: "running" }] });
  const stop = tessera(["stop", "--json"]);
  expect(json(stop.out)).toMatchObject({ schema: "tessera.stop/v1", condition: "stopped" });
  expect(await live.ended).toBe(130);
  expect(tessera(["status", "--exit-code"]).code).toBe(130);
});

test("a stop that finds the controller on its way out waits for its end", async () => {
  expect(tessera(["run", "recipe.yaml"]).code).toBe(0);
  const [run = ""] = runFolders();
  // It closes every connection, and its process is still there for a moment.
  const leaving = spawn(process.execPath, ["-e", "setTimeout(() => undefined, 1e6)"]);
  children.push(leaving);
  const server = createServer((socket) => {
    socket.destroy();
    server.close();
    leaving.kill();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const before = readControllerFile(paths(run).controller);
  const now = { ...before, port, ...processId(leaving.pid ?? 0) };
  writeFileSync(paths(run).controller, JSON.stringify(now));
  const stop = start(["stop", "--json"]);
  expect([await stop.ended, stop.err()]).toEqual([0, ""]);
  expect(json(stop.out())).toMatchObject({ condition: "done" });
});

test("a killed controller is seen as unattended; resume takes over, stop ends the ranks", async () => {
  const live = start(["run", "recipe.yaml"], SLOW);
  await until(() => live.err().includes("step"));
  const [run = ""] = runFolders();
  live.child.kill("SIGKILL");
  await live.ended;
  const agent = agentOf(run) as AgentFile;
  if (isAlive(agent)) {
    expect(json(tessera(["status", "--json"]).out)["condition"]).toBe("unattended");
    expect(tessera(["stop"]).code).toBe(0);
    await until(() => !isAlive(agent));
  }
  const on = start(["resume"], SLOW);
  await until(() => on.err().includes("train"));
  on.child.kill("SIGINT");
  expect(await on.ended).toBe(130);
});
