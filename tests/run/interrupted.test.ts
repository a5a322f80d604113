import { existsSync, mkdirSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { Controller, isAlive, type JournalEvent, localLauncher, paths } from "../../src/run/index.ts";
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
    const began = Date.now();
    const on = await runToEnd(place.options());
    expect(on.error).toBeNull();
    expect(place.final().step).toBe(40);
    expect(place.state.incidents).toEqual([]);
    expect(Date.now() - began).toBeLessThan(30_000);
    expect(processesOf(place.run)).toEqual([]);
  });
}

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
