import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { WorkerMessage } from "../wire/index.ts";
import { Workers } from "./workers.ts";

let folder: string;
let workers: Workers;
let heard: WorkerMessage[];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "workers-"));
  heard = [];
  workers = new Workers(join(folder, "socket"), (message) => heard.push(message));
  await workers.listen();
});
afterEach(() => {
  workers.close();
  rmSync(folder, { recursive: true });
});

/** A rank's whole life while this process looks away: it connects, says its words and ends. */
function lifeUnseen(rank: number, words: readonly object[]): void {
  const lines = words.map(
    (one) => `${JSON.stringify({ v: 1, run: "r", rank, step: 0, t: 0, attempt: 1, ...one })}\n`,
  );
  const program = "require('node:net').connect(process.argv[1]).end(process.argv[2], () => process.exit())";
  const { status, stderr } = spawnSync(process.execPath, ["-e", program, workers.path, lines.join("")]);
  if (status !== 0) throw new Error(String(stderr));
}

test("a rank's last words are heard before its end is told, though it came and went unseen", async () => {
  lifeUnseen(1, [
    { kind: "hello", pid: 7 },
    { kind: "fatal", code: "ENGINE_DATA_DAMAGED", message: "cut short" },
  ]);
  expect(heard).toEqual([]);
  await workers.drained(1, 0);
  expect(heard.map((one) => [one.kind, one.rank])).toEqual([
    ["hello", 1],
    ["fatal", 1],
  ]);
});

test("a rank that never spoke, or that is through, is not waited for", async () => {
  await workers.drained(3, 60_000);
  lifeUnseen(2, [{ kind: "hello", pid: 7 }]);
  await workers.drained(2, 60_000);
  await workers.drained(2, 60_000);
  expect(heard).toHaveLength(1);
});
