import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { Controller, isAlive, type JournalEvent, localLauncher, paths } from "../../src/run/index.ts";
import { tryLock } from "../../src/run/lock.ts";
import { FAKE_ZYGOTE, Place, processesOf, runToEnd, until } from "../fixtures/run.ts";

let place: Place;
afterEach(() => place.dispose());

const MOMENTS: readonly [string, (event: JournalEvent) => boolean][] = [
  ["the run is made", (event) => event.kind === "controller"],
  ["the plan begins", (event) => event.kind === "phase" && event.phase === "plan"],
  ["the plan is done", (event) => event.kind === "phaseDone" && event.phase === "plan"],
  ["an agent is started", (event) => event.kind === "agentStart"],
  ["the agent joined", (event) => event.kind === "agentJoined"],
  ["ranks are about to start", (event) => event.kind === "attempt"],
  ["a checkpoint is there", (event) => event.kind === "checkpoint"],
  ["the last step is trained", (event) => event.kind === "trained"],
];

for (const now of [false, true]) {
  test.each(
    MOMENTS,
  )(`stopped${now ? " at once" : ""} when %s: no process is left, and the run can go on`, async (_name, moment) => {
    place = new Place();
    place.fake({ stepMs: 5 });
    let asked = false;
    const controller: Controller = Controller.open(
      place.options({
        onEvent: (event) => {
          if (asked || !moment(event)) return;
          asked = true;
          // The event is written in the middle of an act: the stop comes right after it.
          queueMicrotask(() => controller.stop(now));
        },
      }),
    );
    const end = await controller.run();
    expect(asked).toBe(true);
    expect(end.outcome).toMatch(/^(stopped|done)$/);
    expect(processesOf(place.run)).toEqual([]);
    const before = place.events.length;
    const on = await runToEnd(place.options());
    expect(on.error).toBeNull();
    expect(place.final().step).toBe(40);
    expect(place.state.incidents).toEqual([]);
    // Nothing was waited for in vain: an agent that is needed is started once, and joins.
    const since = place.kinds().slice(before);
    const count = (kind: string) => since.filter((one) => one === kind).length;
    expect(count("agentStart")).toBeLessThanOrEqual(1);
    expect(count("agentJoined")).toBe(count("agentStart"));
    expect(since).not.toContain("agentLost");
    expect(processesOf(place.run)).toEqual([]);
  });
}

const AFTER_TRAINING = ["measure", "export", "report"] as const;
test.each(
  AFTER_TRAINING,
)("stopped in the phase %s: what is finished stays, and only the rest is done later", async (stopIn) => {
  place = new Place();
  place.fake({ stepMs: 5 });
  const done: string[] = [];
  /** A phase that takes until it is told to stop, the first time that it is the one to stop in. */
  const phase = <T>(name: string, output: T) => ({
    input: () => null,
    run: async ({ signal }: { signal: AbortSignal }): Promise<T> => {
      if (name === stopIn && done.at(-1) !== "stopped") {
        setTimeout(() => controller.stop(false), 20);
        await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
        done.push("stopped");
        signal.throwIfAborted();
      }
      done.push(name);
      return output;
    },
  });
  const options = () =>
    place.options(
      {
        phases: {
          measure: phase("measure", { gate: "passed" as const, file: "m" }),
          export: phase("export", { folder: "e" }),
          report: phase("report", { file: "r" }),
        },
      },
      "evaluate: {}\nexport: {}\n",
    );
  const controller = Controller.open(options());
  const end = await controller.run();
  expect(end).toMatchObject({ outcome: "stopped", verdict: { code: "RUN_INTERRUPTED" } });
  const on = await runToEnd(options());
  expect(on.error).toBeNull();
  const at = AFTER_TRAINING.indexOf(stopIn);
  expect(done).toEqual([...AFTER_TRAINING.slice(0, at), "stopped", ...AFTER_TRAINING.slice(at)]);
  expect(place.kinds().filter((kind) => kind === "attempt")).toHaveLength(1);
});

test("rows that changed, or are gone, since the run began: told by name, nothing lost, and on with the old ones", async () => {
  place = new Place();
  place.fake({ stepMs: 5, holdAt: 12, attempts: [1] });
  const options = place.options({
    onProgress: ({ done }) => {
      if (done === 12) controller.stop(false);
    },
  });
  const controller: Controller = Controller.open(options);
  expect((await controller.run()).outcome).toBe("stopped");
  const file = join(place.folder, "train.safetensors");
  const before = readFileSync(file);
  writeFileSync(file, Buffer.from(before.map((byte) => byte ^ 1)));
  const { loaded } = options;
  const changed = await runToEnd(place.options({ loaded }));
  expect(changed).toMatchObject({ outcome: "failed", error: { code: "RUN_DATA_CHANGED", place: { file } } });
  rmSync(file);
  const gone = await runToEnd(place.options({ loaded }));
  expect(gone).toMatchObject({ outcome: "failed", error: { code: "RUN_DATA_MISSING", place: { file } } });
  writeFileSync(file, before);
  expect((await runToEnd(place.options({ loaded }))).error).toBeNull();
  expect(place.final().step).toBe(40);
  expect(place.state.attempt).toBe(2);
});

test("an agent that a killed controller left without ranks is taken over and put to work", async () => {
  place = new Place();
  place.fake({ stepMs: 5 });
  mkdirSync(place.run, { recursive: true });
  localLauncher([{ agent: "0", ranks: 4 }]).start(
    {
      folder: place.run,
      agent: "0",
      instance: 1,
      host: "127.0.0.1",
      zygote: FAKE_ZYGOTE,
      beatSeconds: 1,
      orphanSeconds: 60,
    },
    () => undefined,
  );
  await until(() => existsSync(paths(place.run).agentFile("0")) && place.agent().zygote?.ready === true);
  expect(processesOf(place.run)).toHaveLength(2);
  const left = place.agent();
  expect(isAlive(left)).toBe(true);
  const end = await runToEnd(place.options());
  expect(end.error).toBeNull();
  expect(place.events.find((one) => one.kind === "agentJoined")).toMatchObject({ pid: left.pid });
  expect(place.state).toMatchObject({ attempt: 1, incidents: [] });
  expect(processesOf(place.run)).toEqual([]);
});

test("an agent whose lock another one holds until late is started again, and nothing is lost", async () => {
  place = new Place();
  place.fake({ stepMs: 5 });
  // As an agent that was killed holds it while the kernel has not done with it.
  const lock = tryLock(paths(place.run).agentLock("0"));
  let starts = 0;
  const launcher = (world: number) => {
    const local = localLauncher([{ agent: "0", ranks: world }]);
    const start: typeof local.start = (config, onExit) => {
      starts++;
      local.start(config, onExit);
    };
    return { ...local, start };
  };
  const running = runToEnd(place.options({ launcher }));
  await until(() => starts === 2);
  lock?.release();
  expect((await running).error).toBeNull();
  expect(place.state).toMatchObject({ attempt: 1, incidents: [] });
  expect(processesOf(place.run)).toEqual([]);
});
