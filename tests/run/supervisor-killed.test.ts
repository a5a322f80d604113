import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { Random } from "../../src/base/index.ts";
import { isAlive, listCheckpoints, paths, readTelemetry } from "../../src/run/index.ts";
import { Place, runToEnd, until } from "../fixtures/run.ts";

let place: Place;
let children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  children = [];
  place.dispose();
});

function startController(): { child: ChildProcess; ended: Promise<number | null> } {
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, "../fixtures/fake-run.ts"), place.folder, place.run],
    {
      stdio: ["ignore", "inherit", "inherit"],
    },
  );
  children.push(child);
  return { child, ended: new Promise((resolve) => child.on("exit", (code) => resolve(code))) };
}

const steps = () =>
  readTelemetry(paths(place.run).series)
    .filter((one) => one.kind === "step" && one.rank === 0)
    .map((one) => one.step);

/** Step of the newest checkpoint; 0: none. */
const savedAt = () => listCheckpoints(paths(place.run).checkpoints).at(-1)?.step ?? 0;

async function reference(): Promise<{ step: number; state: string }> {
  const other = new Place();
  try {
    await runToEnd(other.options());
    return other.final();
  } finally {
    other.dispose();
  }
}

test("a killed controller's ranks train on; the next controller takes them over and nothing is done twice", async () => {
  place = new Place();
  place.fake({ stepMs: 60, holdAt: 33, attempts: [1] });
  const first = startController();
  await until(() => steps().length >= 5);
  first.child.kill("SIGKILL");
  await first.ended;
  const agent = place.agent();
  await until(() => savedAt() === 30);
  expect(isAlive(agent)).toBe(true);
  const second = startController();
  await until(() => place.kinds().includes("adopted"));
  place.release();
  expect(await second.ended).toBe(0);
  expect(place.agent()).toEqual(agent);
  expect(place.kinds().filter((kind) => kind === "attempt")).toHaveLength(1);
  expect(steps()).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
  expect(place.final()).toEqual(await reference());
});

test("ranks that finish while no controller is there are not trained again", async () => {
  place = new Place();
  const first = startController();
  await until(() => steps().length >= 13);
  first.child.kill("SIGKILL");
  await first.ended;
  await until(() => savedAt() === 40 && !place.agent().ranks.some(isAlive));
  const second = startController();
  expect(await second.ended).toBe(0);
  expect(place.kinds().filter((kind) => kind === "attempt")).toHaveLength(1);
  expect(steps()).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
});

test("agent and controller both killed", async () => {
  place = new Place();
  place.fake({ stepMs: 40, holdAt: 20, attempts: [1] });
  const first = startController();
  await until(() => steps().length >= 13);
  first.child.kill("SIGKILL");
  process.kill(place.agent().pid, "SIGKILL");
  await first.ended;
  const second = startController();
  expect(await second.ended).toBe(0);
  expect(place.final()).toEqual(await reference());
  expect(place.state.attempt).toBe(2);
});

test("killed at random moments, again and again, it ends where the undisturbed run ends", async () => {
  const wanted = await reference();
  const random = new Random(20261122);
  for (let round = 0; round < 3; round++) {
    place = new Place();
    place.fake({ stepMs: 30 });
    let code: number | null = null;
    for (let kills = 0; code !== 0; kills++) {
      const { child, ended } = startController();
      const target = kills < 5 ? random.pick(["controller", "agent", "rank"] as const) : "none";
      const timer = setTimeout(
        () => {
          try {
            if (target === "controller") child.kill("SIGKILL");
            if (target === "agent") process.kill(place.agent().pid, "SIGKILL");
            if (target === "rank")
              process.kill((random.pick(place.agent().ranks) as { pid: number }).pid, "SIGKILL");
          } catch {
            // Not there yet, or not any more.
          }
        },
        random.int(100, 1500),
      );
      code = await ended;
      clearTimeout(timer);
      expect(kills).toBeLessThan(8);
    }
    expect(place.final()).toEqual(wanted);
    expect(isAlive(place.agent())).toBe(false);
    place.dispose();
  }
});
