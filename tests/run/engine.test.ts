import { spawnSync } from "node:child_process";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ok, TesseraError, unwrap } from "../../src/base/index.ts";
import {
  engineEnv,
  enginePython,
  engineZygote,
  isAlive,
  listCheckpoints,
  loadRecipe,
  paths,
  type RunOptions,
} from "../../src/run/index.ts";
import { deadlyZygote, Place, runToEnd, until } from "../fixtures/run.ts";

/** Whole runs on the real engine: four ranks, two pipeline stages, experts over two ranks. */
const RECIPE = `name: tiny
model: { base: base }
data: { packed: train.safetensors }
stages: [{ kind: sft, steps: 9 }]
batch: { sequenceLength: 32, microBatch: 1, globalBatch: 8 }
optimizer: { learningRate: 0.001 }
layout: { pp: 2, dpShard: 2, ep: 2 }
checkpoint: { every: 3 }
`;
const MINUTES = 60_000;

let home: Place;
beforeAll(() => {
  home = new Place();
  const made = spawnSync(
    unwrap(enginePython(process.env)),
    [join(import.meta.dirname, "../fixtures/tiny_model.py"), home.folder],
    {
      env: { ...process.env, ...engineEnv(process.env) },
      encoding: "utf8",
      timeout: 280_000,
    },
  );
  if (made.status !== 0) throw new Error(made.stderr);
  writeFileSync(join(home.folder, "recipe.yaml"), RECIPE);
}, 5 * MINUTES);
afterAll(() => home.dispose());

function options(more: Partial<RunOptions> = {}): RunOptions {
  const loaded = loadRecipe(join(home.folder, "recipe.yaml"));
  if (!loaded.ok) throw loaded.error[0];
  return home.options({ zygote: () => engineZygote(process.env), ...more, loaded: loaded.value });
}

/** Names and checksums of what the last checkpoint holds: weights, optimizer and random state, data cursor. */
function saved(): unknown {
  const last = listCheckpoints(paths(home.run).checkpoints).at(-1);
  const manifest = JSON.parse(readFileSync(join(last?.path ?? "", "manifest.json"), "utf8")) as {
    step: number;
    cursor: number;
    files: { name: string; sha256: string }[];
  };
  return [manifest.step, manifest.cursor, manifest.files.map(({ name, sha256 }) => [name, sha256])];
}

/** Token ids that no vocabulary has, right after the header of a safetensors file. */
function foreignIds(bytes: Buffer): Buffer {
  const from = 8 + Number(bytes.readBigUInt64LE(0));
  return Buffer.from(bytes).fill(0x7f, from, from + 64);
}

test.each([
  ["cut short", "ENGINE_DATA_DAMAGED", (bytes: Buffer) => bytes.subarray(0, -100)],
  ["of another tokenizer", "ENGINE_DATA_VOCABULARY", foreignIds],
] as const)(
  "rows that are %s: exit 3 at the first try, with the file and what is wrong",
  async (_name, code, spoil) => {
    const place = new Place();
    try {
      cpSync(home.folder, place.folder, { recursive: true });
      const file = join(place.folder, "train.safetensors");
      writeFileSync(file, spoil(readFileSync(file)));
      const loaded = loadRecipe(join(place.folder, "recipe.yaml"));
      if (!loaded.ok) throw loaded.error[0];
      const zygote = () => engineZygote(process.env);
      const end = await runToEnd(place.options({ loaded: loaded.value, zygote }));
      expect(end.verdict).toMatchObject({ code: "RUN_ENVIRONMENT" });
      expect(end.error).toBeInstanceOf(TesseraError);
      expect((end.error as TesseraError).entry.exit).toBe(3);
      expect(String(end.verdict?.params["how"])).toContain(code);
      expect(String(end.verdict?.params["how"])).toContain(
        code === "ENGINE_DATA_DAMAGED" ? file : "vocabulary",
      );
      expect(place.state.attempt).toBe(1);
      expect(listCheckpoints(paths(place.run).checkpoints)).toEqual([]);
    } finally {
      place.dispose();
    }
  },
  10 * MINUTES,
);

let undisturbed: unknown;
test(
  "trains to the end and leaves a whole checkpoint and no process",
  async () => {
    const end = await runToEnd(options());
    expect(end.error).toBeNull();
    expect(end).toMatchObject({ outcome: "done", outputs: { train: { step: 9 } } });
    expect(isAlive(home.agent())).toBe(false);
    undisturbed = saved();
    rmSync(home.run, { recursive: true });
  },
  10 * MINUTES,
);

test(
  "kill -9 of a rank, then of the agent: bit-identical weights, optimizer state and data position",
  async () => {
    const kills = new Map([
      [5, () => process.kill((home.agent().ranks[3] as { pid: number }).pid, "SIGKILL")],
      [7, () => process.kill(home.agent().pid, "SIGKILL")],
    ]);
    const end = await runToEnd(
      options({
        zygote: () => ok(deadlyZygote({ TEST_HOLD: "1:step:5,2:step:7" })),
        onProgress: ({ phase, done }) => {
          if (phase !== "train") return;
          const kill = kills.get(done);
          kills.delete(done);
          kill?.();
        },
      }),
    );
    expect(end.error).toBeNull();
    expect(home.state.incidents.map((one) => one.alarm.rule)).toEqual(["rankCrash", "agentLost"]);
    expect(home.state.incidents.every((one) => one.recovered !== null)).toBe(true);
    expect(saved()).toEqual(undisturbed);
    await until(() => !isAlive(home.agent()));
    rmSync(home.run, { recursive: true });
  },
  10 * MINUTES,
);
