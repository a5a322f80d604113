import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { TesseraError } from "../../src/base/index.ts";
import { Controller, isAlive, listCheckpoints, paths, readJournal } from "../../src/run/index.ts";
import { exportCheckpoint } from "../../src/run/index.ts";
import { sampleCheckpoint } from "../../src/run/checkpoint/testing/sample.ts";
import { Place, runToEnd, until } from "../fixtures/run.ts";

let place: Place | undefined;
let mounted: string | undefined;
afterEach(() => {
  place?.dispose();
  if (mounted) {
    spawnSync("umount", ["-l", mounted]);
    rmSync(mounted, { recursive: true, force: true });
    mounted = undefined;
  }
});

test("too little room: older checkpoints are pruned, then the run stops with its verdict and can go on", async () => {
  place = new Place();
  place.fake({ stepMs: 1000 });
  // No disk has this much room, so the rule fires on any machine.
  const end = await runToEnd(place.options({}, "watch: { disk: { floorBytes: 9000000000000000 } }"));
  expect(end).toMatchObject({ outcome: "failed", verdict: { code: "RUN_DISK_FULL" } });
  expect(end.error).toBeInstanceOf(TesseraError);
  expect((end.error as TesseraError).entry.exit).toBe(3);
  expect(place.state.incidents.map((one) => one.remedy?.do)).toEqual([
    "prune",
    expect.stringMatching(/stop|fail/),
  ]);
  expect(isAlive(place.agent())).toBe(false);
});

/** A small disk of its own, where the test may mount one. */
function smallDisk(): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), "tessera-disk-"));
  const done = spawnSync("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", folder]);
  if (done.status === 0) return folder;
  rmSync(folder, { recursive: true });
  return undefined;
}

/** Writes until nothing more fits. */
function fill(path: string): void {
  try {
    for (;;) appendFileSync(path, Buffer.alloc(4096));
  } catch {
    return;
  }
}

const disk = smallDisk();
if (disk) {
  spawnSync("umount", ["-l", disk]);
  rmSync(disk, { recursive: true, force: true });

  test("a disk that is full takes no export: a coded error, and nothing is left of it", async () => {
    place = new Place();
    mounted = smallDisk();
    const folder = mounted as string;
    const options = sampleCheckpoint(place.folder);
    fill(join(folder, "ballast"));
    await expect(exportCheckpoint({ ...options, out: join(folder, "out") })).rejects.toMatchObject({
      code: "RUN_EXPORT_WRITE",
      params: { why: "ENOSPC" },
    });
    expect(readdirSync(folder)).toEqual(["ballast"]);
  });

  test("a disk that is really full: coded end, journal whole, the newest whole checkpoint stays", async () => {
    mounted = smallDisk();
    place = new Place();
    mkdirSync(dirname(place.run), { recursive: true });
    symlinkSync(mounted as string, place.run);
    place.fake({ stepMs: 50, checkpointBytes: 900_000, holdAt: 12, attempts: [1] });
    const { run } = place;
    const end = await runToEnd(
      place.options(
        {
          onProgress: ({ done }) => {
            if (done !== 12) return;
            fill(join(run, "filler"));
            place?.release();
          },
        },
        "watch: { restarts: 1, disk: { floorBytes: 1000000, checkpoints: 1 } }",
      ),
    );
    expect(end.outcome).toBe("failed");
    expect(end.error).toBeInstanceOf(TesseraError);
    expect(["RUN_DISK_FULL", "RUN_JOURNAL", "RUN_BUDGET"]).toContain((end.error as TesseraError).code);
    expect(readJournal(place.run).length).toBeGreaterThan(3);
    for (const { path } of listCheckpoints(paths(place.run).checkpoints))
      expect(existsSync(join(path, "state.bin"))).toBe(true);
    await until(() => !isAlive((place as Place).agent()));
  });
}

test("a run folder that cannot be made is told with its code", () => {
  place = new Place();
  mkdirSync(join(place.folder, "runs"));
  symlinkSync("/proc/nowhere", join(place.folder, "runs", "fake"));
  expect(() => Controller.open((place as Place).options())).toThrowError(/RUN_FOLDER/);
});
