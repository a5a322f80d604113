import { afterEach, expect, test } from "vitest";
import { type AgentFile, Controller, paths, readTelemetry, type StepMessage } from "../../src/run/index.ts";
import { Place, processesOf, runToEnd, until } from "../fixtures/run.ts";

let place: Place;
afterEach(() => place.dispose());

/** Runs with a fault that is let loose at a step; no rank goes past it before the fault has struck. */
async function withFault(
  step: number,
  fault: (place: Place) => void,
  recipe = "",
  fake = {},
): Promise<ReturnType<typeof runToEnd>> {
  place = new Place();
  place.fake({ stepMs: 20, ...(step > 0 ? { holdAt: step, attempts: [1] } : {}), ...fake });
  let done = false;
  const end = await runToEnd(
    place.options(
      {
        onProgress: (progress) => {
          if (!done && progress.phase === "train" && progress.done === step) {
            done = true;
            fault(place);
          }
        },
      },
      recipe,
    ),
  );
  expect(processesOf(place.run)).toEqual([]);
  return end;
}

/** Steps in the order of the telemetry of rank 0, each with the last attempt that trained it. */
const stepsOf = (where: Place): number[] =>
  readTelemetry(paths(where.run).series)
    .filter((one) => one.kind === "step" && one.rank === 0)
    .map((one) => (one as unknown as StepMessage).step);

let undisturbed: { step: number; state: string };
test("a run without faults", async () => {
  const end = await withFault(-1, () => undefined);
  expect(end.error).toBeNull();
  expect(end).toMatchObject({ outcome: "done", outputs: { train: { step: 40 } } });
  undisturbed = place.final();
  expect(undisturbed.step).toBe(40);
  expect(stepsOf(place)).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
  // Asking again for what is done writes nothing new but the look itself.
  const again = await runToEnd(place.options());
  expect(again.outcome).toBe("done");
  expect(place.kinds().filter((kind) => kind === "attempt")).toHaveLength(1);
});

test("kill -9 of a rank: heals, says so, ends with the same state", async () => {
  let before: AgentFile | undefined;
  const end = await withFault(25, () => {
    before = place.agent();
    process.kill((before.ranks[2] as { pid: number }).pid, "SIGKILL");
  });
  expect(end.outcome).toBe("done");
  expect(place.final()).toEqual(undisturbed);
  const incident = place.state.incidents[0];
  expect(incident).toMatchObject({
    alarm: { rule: "rankCrash", rank: 2, evidence: { how: "SIGKILL" } },
    remedy: { do: "restart" },
  });
  expect(incident?.recovered?.step).toBe(21);
  expect(place.state.incidents).toHaveLength(1);
  // What takes long was not done again: the agent and the imports of its zygote are those from before.
  expect(place.agent()).toMatchObject({ pid: before?.pid, zygote: before?.zygote });
});

test("kill -9 of the agent: another one goes on with the zygote that is there", async () => {
  let before: AgentFile | undefined;
  const end = await withFault(15, () => {
    before = place.agent();
    process.kill(before.pid, "SIGKILL");
  });
  expect(end.outcome).toBe("done");
  expect(place.final()).toEqual(undisturbed);
  expect(place.agent().pid).not.toBe(before?.pid);
  expect(place.agent().zygote).toEqual(before?.zygote);
  // Its end was seen; nobody waited for its silence.
  const how = expect.stringMatching(/its process is gone|ended by SIGKILL/) as string;
  expect(place.state.incidents).toMatchObject([
    {
      alarm: { rule: "agentLost", agent: "0", evidence: { how } },
      remedy: { do: "restart" },
      recovered: { step: 11 },
    },
  ]);
});

test.each([
  "SIGKILL",
  "SIGSTOP",
] as const)("kill -9 of the agent with %s of its zygote: another zygote is started, and both are gone in the end", async (signal) => {
  let before: AgentFile | undefined;
  const end = await withFault(15, () => {
    before = place.agent();
    process.kill((before.zygote as { pid: number }).pid, signal);
    process.kill(before.pid, "SIGKILL");
  });
  expect(end.outcome).toBe("done");
  expect(place.final()).toEqual(undisturbed);
  expect(place.agent().zygote?.pid).not.toBe(before?.zygote?.pid);
});

test("kill -9 of the zygote: its agent goes too, and both are replaced", async () => {
  const end = await withFault(15, () =>
    process.kill((place.agent().zygote as { pid: number }).pid, "SIGKILL"),
  );
  expect(end.outcome).toBe("done");
  expect(place.final()).toEqual(undisturbed);
});

test("a rank that stops (SIGSTOP) is found and named", async () => {
  const end = await withFault(
    12,
    () => {
      for (const one of place.agent().ranks) process.kill(one.pid, "SIGSTOP");
    },
    "watch: { hang: { floorSeconds: 5 } }",
  );
  expect(end.outcome).toBe("done");
  expect(place.final()).toEqual(undisturbed);
  expect(place.state.incidents).toMatchObject([
    {
      alarm: { rule: "hang", rank: 0, evidence: { how: "its process is stopped (state T)" } },
      remedy: { do: "restart" },
    },
  ]);
});

test("NaN once is a passing fault, twice at one step is the end", async () => {
  const once = await withFault(-1, () => undefined, "", { nanAt: 14, attempts: [1] });
  expect(once.outcome).toBe("done");
  expect(place.final()).toEqual(undisturbed);
  place.dispose();
  const twice = await withFault(-1, () => undefined, "", { nanAt: 14, attempts: [1, 2, 3] });
  expect(twice).toMatchObject({
    outcome: "failed",
    verdict: { code: "RUN_NOT_FINITE", params: { step: 14, numbers: "loss NaN, gradient norm 1" } },
  });
  expect(place.state.attempt).toBe(2);
});

test("a rank that always dies at one step spends the budget", async () => {
  const end = await withFault(-1, () => undefined, "watch: { restarts: 3 }", {
    crashAt: 2,
    stepMs: 80,
    attempts: [1, 2, 3, 4, 5, 6, 7],
    rank: 1,
    message: "bad batch",
  });
  expect(end).toMatchObject({
    outcome: "failed",
    verdict: { code: "RUN_BUDGET", params: { rank: 1, count: 3 } },
  });
  expect(String(end.verdict?.params["how"])).toContain("bad batch");
  expect(place.state.attempt).toBe(4);
});

test("an environment fault is not tried again", async () => {
  const end = await withFault(-1, () => undefined, "", {
    crashAt: 3,
    attempts: [1],
    rank: 1,
    code: 3,
    message: "wrong torch",
  });
  expect(end).toMatchObject({ outcome: "failed", verdict: { code: "RUN_ENVIRONMENT" } });
  expect(place.state.attempt).toBe(1);
});

test("an engine that does not start is told with its own words", async () => {
  place = new Place();
  const broken = {
    command: process.execPath,
    args: ["-e", "console.error('ModuleNotFoundError: torch'); process.exit(1)"],
    env: {},
  };
  const end = await runToEnd(place.options({ zygote: () => ({ ok: true, value: broken }) }));
  expect(end).toMatchObject({
    outcome: "failed",
    verdict: { code: "RUN_ENGINE", params: { why: "ModuleNotFoundError: torch" } },
  });
  const missing = await runToEnd(
    place.options({ zygote: () => ({ ok: true, value: { ...broken, command: "/nowhere/python" } }) }),
  );
  expect(missing).toMatchObject({ outcome: "failed", verdict: { code: "RUN_ENGINE" } });
});

test("a stop saves, and the run goes on later", async () => {
  place = new Place();
  place.fake({ holdAt: 23, attempts: [1] });
  const options = place.options({
    onProgress: (progress) => {
      if (progress.done === 23) controller.stop(false);
    },
  });
  const controller: Controller = Controller.open(options);
  const end = await controller.run();
  expect(end).toMatchObject({ outcome: "stopped", verdict: { code: "RUN_STOPPED" } });
  expect(place.final().step).toBe(23);
  expect((await runToEnd(place.options())).outcome).toBe("done");
  expect(place.final()).toEqual(undisturbed);
  expect(new Set(stepsOf(place)).size).toBe(stepsOf(place).length);
});

test("a stop that ranks do not hear, then now", async () => {
  place = new Place();
  place.fake({ deafToStop: true, holdAt: 14, attempts: [1] });
  const options = place.options({
    onProgress: (progress) => {
      if (progress.done === 11) controller.stop(false);
      if (progress.done === 14) controller.stop(true);
    },
  });
  const controller: Controller = Controller.open(options);
  const end = await controller.run();
  expect(end.outcome).toBe("stopped");
  expect(place.final().step).toBe(10);
});

test("a controller that did not run for longer than silence may last blames no one", async () => {
  const limits = "watch: { agentLost: { silenceSeconds: 4 }, hang: { floorSeconds: 4 } }";
  const asleep = () => setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 6000));
  const end = await withFault(12, asleep, limits, { attempts: [] });
  expect(end.error).toBeNull();
  expect(place.final()).toEqual(undisturbed);
  expect(place.state.incidents).toEqual([]);
});

test("two controllers: the second is refused with the pid of the first", async () => {
  place = new Place();
  const first = Controller.open(place.options());
  const running = first.run();
  await until(() => place.kinds().includes("attempt"));
  // Another process: SQLite sees through two locks of one.
  expect(() => Controller.open(place.options())).toThrowError(/RUN_LOCKED.*/);
  first.stop(true);
  expect((await running).outcome).toBe("stopped");
});
