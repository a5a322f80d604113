import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readControllerFile } from "../agent/link.ts";
import { Journal } from "../journal/index.ts";
import type { Launcher } from "../launcher/index.ts";
import { paths } from "../paths.ts";
import { type ControllerMessage, encodeLine, LineDecoder, type WorkerMessage } from "../wire/index.ts";
import { Hub } from "./hub.ts";
import { Series } from "./series.ts";
import { Training } from "./train.ts";

let folder: string;
let hub: Hub;
let journal: Journal;
let series: Series;
/** Agents that were started: what their end is told to. */
let started: { instance: number; ended: (why: string | null) => void }[];
let sockets: Socket[];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "tessera-train-"));
  hub = await Hub.open(folder, 1);
  journal = new Journal(folder, () => 0);
  series = new Series(paths(folder).series, 2);
  started = [];
  sockets = [];
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await hub.close();
  journal.close();
  series.close();
  rmSync(folder, { recursive: true });
});

/** A training of two ranks whose agents are this test. */
function training(onMessage: (message: WorkerMessage) => void): Training {
  const launcher: Launcher = {
    nodes: [{ agent: "0", ranks: 2 }],
    start: ({ instance }, ended) => started.push({ instance, ended }),
    alive: () => undefined,
    kill: () => undefined,
    clear: () => undefined,
    remains: () => false,
  };
  return new Training({
    folder,
    run: "r",
    goal: {
      nodes: [{ agent: "0", ranks: [0, 1] }],
      steps: 9,
      stopSeconds: 60,
      killSeconds: 60,
      joinSeconds: 60,
    },
    spec: "worker.json",
    zygote: { command: "", args: [], env: {} },
    journal,
    launcher,
    hub,
    series,
    watch: ({ kind, t }) =>
      kind === "agentLost"
        ? {
            alarm: {
              rule: "agentLost",
              code: "RUN_AGENT_LOST",
              rank: null,
              agent: "0",
              step: null,
              evidence: { t },
            },
            remedy: { do: "restart" },
          }
        : null,
    balancing: null,
    silenceSeconds: 60,
    onMessage,
  });
}

/** The connection of an agent: says lines, and gives the controller's orders one by one. */
async function agent(instance: number) {
  const at = readControllerFile(paths(folder).controller);
  if (!at) throw new Error("no address");
  const socket = connect(at.port, at.host);
  sockets.push(socket);
  const say = (...lines: object[]) => socket.write(lines.map(encodeLine).join(""));
  say({
    kind: "join",
    token: at.token,
    agent: "0",
    instance,
    pid: 1,
    host: "h",
    attempt: 0,
    ranks: [],
    zygote: false,
  });
  const decoder = new LineDecoder();
  const chunks = socket[Symbol.asyncIterator]();
  const orders: ControllerMessage[] = [];
  const order = async (): Promise<ControllerMessage> => {
    for (let next = orders.shift(); ; next = orders.shift()) {
      if (next && next.kind !== "ack") return next;
      if (!next) orders.push(...(decoder.push((await chunks.next()).value as Buffer) as ControllerMessage[]));
    }
  };
  expect(await order()).toEqual({ kind: "welcome", epoch: 1 });
  return { say, order };
}

const ZYGOTE = { kind: "zygote", torch: "2.13.0", transformers: "0", pid: 1 };
const told = (seq: number, attempt: number, kind: string, step: number) => ({
  kind: "telemetry",
  seq,
  message: { v: 1, kind, run: "r", rank: 0, step, t: 0, attempt },
});

test("late words of an agent that was given up are not taken for those of the next one", async () => {
  const late = Promise.withResolvers<void>();
  const { ended } = training(({ kind }) => kind === "saving" && late.resolve());
  const first = await agent(1);
  first.say(ZYGOTE);
  expect(await first.order()).toEqual({ kind: "master", attempt: 1 });
  first.say({ kind: "master", attempt: 1, host: "h", port: 1 });
  expect(await first.order()).toMatchObject({ kind: "spawn", attempt: 1 });
  started[0]?.ended("its process is gone");
  expect(started.map(({ instance }) => instance)).toEqual([1, 2]);
  // Its socket still held this.
  first.say(...[1, 2, 3, 4, 5, 6].map((seq) => told(seq, 1, "phase", seq)), ZYGOTE, told(7, 1, "saving", 7));
  await late.promise;
  const second = await agent(2);
  second.say(ZYGOTE);
  expect(await second.order()).toEqual({ kind: "master", attempt: 2 });
  second.say({ kind: "master", attempt: 2, host: "h", port: 1 });
  expect(await second.order()).toMatchObject({ kind: "spawn", attempt: 2 });
  const exit = (seq: number, rank: number) => ({
    kind: "exited",
    seq,
    attempt: 2,
    rank,
    code: 0,
    signal: null,
    t: 0,
  });
  second.say(told(1, 2, "done", 9), exit(2, 0), exit(3, 1));
  expect(await ended).toMatchObject({ outcome: "done", step: 9 });
});
