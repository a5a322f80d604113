import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ok, unwrap } from "../../src/base/index.ts";
import {
  engineEnv,
  enginePython,
  engineZygote,
  type JournalEvent,
  listCheckpoints,
  loadRecipe,
  paths,
  readLastBalance,
  readTelemetry,
  type RunOptions,
} from "../../src/run/index.ts";
import { logicalState } from "../fixtures/logical.ts";
import { deadlyZygote, Place, runToEnd } from "../fixtures/run.ts";

/**
 * Whole runs on the real engine, real routing, a router that prefers some experts: two ranks that share the experts. Moves must come
 * however slow and noisy the machine is, so nothing is asked of their payback.
 */
const recipe = (mode: string, overlap: boolean) => `name: live
model: { base: base }
data: { packed: train.safetensors }
stages: [{ kind: cpt, steps: 40 }]
batch: { sequenceLength: 128, microBatch: 8, globalBatch: 16 }
optimizer: { learningRate: 0.0003 }
moe: { biasRate: 0.001 }
layout: { dpShard: 2, ep: 2 }
balance: { mode: ${mode}, every: 12, window: 12, safety: 0, overlap: ${overlap}, foresight: ${mode === "off"} }
checkpoint: { every: 16 }
`;
const MINUTES = 60_000;

let home: Place;
beforeAll(() => {
  home = new Place();
  // Large enough that what an expert costs can be told from what the machine does besides.
  const sizes = [
    "--hidden",
    "128",
    "--width",
    "768",
    "--experts",
    "8",
    "--top",
    "2",
    "--skew",
    "3",
    "--length",
    "128",
  ];
  const made = spawnSync(
    unwrap(enginePython(process.env)),
    [join(import.meta.dirname, "../../bench/experts/skewed_model.py"), home.folder, ...sizes, "--kind", "v4"],
    { env: { ...process.env, ...engineEnv(process.env) }, encoding: "utf8", timeout: 280_000 },
  );
  if (made.status !== 0) throw new Error(made.stderr);
}, 5 * MINUTES);
afterAll(() => home.dispose());

function options(mode: string, overlap = false, more: Partial<RunOptions> = {}): RunOptions {
  writeFileSync(join(home.folder, "recipe.yaml"), recipe(mode, overlap));
  const loaded = loadRecipe(join(home.folder, "recipe.yaml"));
  if (!loaded.ok) throw loaded.error[0];
  return home.options({ zygote: () => engineZygote(process.env), ...more, loaded: loaded.value });
}

/** Loss and gradient norm of every step as it counts in the end, and checksums of weights, optimizer and data position. */
function outcome(): unknown {
  const steps = new Map<number, unknown>();
  for (const one of readTelemetry(paths(home.run).series)) {
    if (one.kind === "step" && one.rank === 0) steps.set(one.step, [one["loss"], one["gradNorm"]]);
  }
  const last = listCheckpoints(paths(home.run).checkpoints).at(-1);
  const path = last?.path ?? "";
  const { cursor } = JSON.parse(readFileSync(join(path, "manifest.json"), "utf8")) as { cursor: number };
  return [[...steps], cursor, logicalState(path)];
}

const of = <K extends JournalEvent["kind"]>(kind: K) =>
  home.events.filter((event): event is Extract<JournalEvent, { kind: K }> => event.kind === kind);

test(
  "moves on a skewed run, kill -9 in the middle of one: same losses, norms, weights and optimizer to the bit",
  async () => {
    const still = await runToEnd(options("off"));
    expect(still.error).toBeNull();
    expect(of("balance")).toEqual([]);
    // The first layer is routed by a hash of the token: its experts are placed before the first step, whatever the mode. The runs below
    // start in order, and must end with the same bits.
    expect(of("placed").flatMap((event) => event.layers.map((one) => one.layer))).toEqual([0]);
    const wanted = outcome();
    rmSync(home.run, { recursive: true });

    const moved = await runToEnd(options("on"));
    expect(moved.error).toBeNull();
    const acts = of("balance").filter((event) => event.action === "act");
    expect(acts.length).toBeGreaterThan(0);
    const ends = of("relocated");
    expect(ends.map((event) => event.id)).toEqual(acts.map((event) => event.id));
    expect(ends.every((event) => event.ok && event.bytes > 0 && event.seconds > 0)).toBe(true);
    expect(of("balanceGain").length).toBeGreaterThan(0);
    const digest = readLastBalance(paths(home.run).series);
    expect(digest?.layers).toEqual([0, 1]);
    expect(digest?.planned.some((value) => typeof value === "number")).toBe(true);
    expect(outcome()).toEqual(wanted);
    rmSync(home.run, { recursive: true });

    // Now with experts that travel while the next step runs.
    const healed = await runToEnd(
      options("on", true, { zygote: () => ok(deadlyZygote({ TEST_FLY: "1:1" })) }),
    );
    expect(healed.error).toBeNull();
    expect(home.state.incidents.map((one) => one.alarm)).toMatchObject([
      { rule: "rankCrash", rank: 1, evidence: { how: "SIGKILL" } },
    ]);
    expect(of("recovered")).toHaveLength(1);
    const told = of("balance").filter((event) => event.action === "act");
    expect(of("relocated").map((event) => event.id)).toEqual(told.map((event) => event.id));
    expect(outcome()).toEqual(wanted);
  },
  10 * MINUTES,
);
