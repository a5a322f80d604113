import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ok, unwrap } from "../../src/base/index.ts";
import {
  engineEnv,
  enginePython,
  engineZygote,
  listCheckpoints,
  loadRecipe,
  paths,
  readTelemetry,
} from "../../src/run/index.ts";
import { rowsInOrder } from "../../src/run/controller/balance.ts";
import type { WorkerLayout } from "../../src/run/controller/spec.ts";
import { logicalState } from "../fixtures/logical.ts";
import { deadlyZygote, Place, runToEnd } from "../fixtures/run.ts";

/** Whole short runs on the real engine: two ranks that share the experts of a router that prefers some. */
const recipe = (more: { scanRows?: number; steps?: number; order?: string }) => `name: scan
model: { base: base }
data: { packed: train.safetensors${more.order ? `, order: ${more.order}` : ""} }
stages: [{ kind: cpt, steps: ${more.steps ?? 4} }]
batch: { sequenceLength: 32, microBatch: 2, globalBatch: 8 }
optimizer: { learningRate: 0.0003 }
layout: { dpShard: 2, ep: 2 }
balance: { mode: off, foresight: false, scanRows: ${more.scanRows ?? 0} }
checkpoint: { every: 2 }
`;
const MINUTES = 60_000;

let home: Place;
beforeAll(() => {
  home = new Place();
  const sizes = "--hidden 32 --width 32 --experts 8 --top 2 --skew 3 --length 32 --layers 2 --rows 64".split(
    " ",
  );
  const made = spawnSync(
    unwrap(enginePython(process.env)),
    [join(import.meta.dirname, "../../bench/experts/skewed_model.py"), home.folder, ...sizes, "--kind", "v3"],
    { env: { ...process.env, ...engineEnv(process.env) }, encoding: "utf8", timeout: 280_000 },
  );
  if (made.status !== 0) throw new Error(made.stderr);
}, 5 * MINUTES);
afterAll(() => home.dispose());

function options(more: Parameters<typeof recipe>[0]) {
  writeFileSync(join(home.folder, "recipe.yaml"), recipe(more));
  const loaded = loadRecipe(join(home.folder, "recipe.yaml"));
  if (!loaded.ok) throw loaded.error[0];
  return home.options({ loaded: loaded.value, zygote: () => engineZygote(process.env) });
}

const told = (kind: string) => readTelemetry(paths(home.run).series).filter((one) => one.kind === kind);

/** Losses and gradient norms of all steps, checksums of weights and optimizer. */
function outcome(): unknown {
  const steps = told("step").filter((one) => one.rank === 0);
  const last = listCheckpoints(paths(home.run).checkpoints).at(-1);
  return [steps.map((one) => [one.step, one["loss"], one["gradNorm"]]), logicalState(last?.path ?? "")];
}

test(
  "a scan places the experts of learned layers before the first step, and changes no bit of the training",
  async () => {
    expect((await runToEnd(options({}))).error).toBeNull();
    expect(home.kinds()).not.toContain("placed");
    const wanted = outcome();
    rmSync(home.run, { recursive: true });

    const rows: number[] = [];
    const scanned = await runToEnd({
      ...options({ scanRows: 16 }),
      onProgress: (progress) => {
        if (progress.unit === "row") rows.push(progress.done);
      },
    });
    expect(scanned.error).toBeNull();
    expect(rows).toEqual([8, 16]);
    const placed = home.events.find((event) => event.kind === "placed");
    expect(placed?.layers.map((one) => one.layer)).toEqual([0, 1]);
    expect(placed?.line.en).toContain("512 tokens scanned");
    for (const one of placed?.layers ?? []) expect(one.after).toBeLessThan(one.before);
    expect(outcome()).toEqual(wanted);
    // Ranks started with what was planned: the telling of the first placement has other slots than the order of the experts.
    const first = told("placement")[0] as { layers?: Record<string, number[]> } | undefined;
    expect(Object.values(first?.layers ?? {}).some((row) => row.some((e, s) => e !== s))).toBe(true);
    const kept = JSON.parse(readFileSync(paths(home.run).scan, "utf8")) as {
      layers: Record<string, number[]>;
    };
    expect(kept.layers["1"]?.reduce((sum, n) => sum + n, 0)).toBe(512 * 2);
  },
  5 * MINUTES,
);

test(
  "a run feeds its rows in the order it was given, also after a stop and when the file is gone by then",
  async () => {
    rmSync(home.run, { recursive: true, force: true });
    const order = join(home.folder, "order.json");
    // Two ranks, two rows each at a time: 4 samples a micro-batch, the last ones of the first two global batches first.
    const microBatches = [15, 11, 7, 3].map((last) => [last, last - 1, last - 2, last - 3]);
    writeFileSync(
      order,
      JSON.stringify({ schema: "tessera.sample-order/v1", firstSample: 0, samples: 16, microBatches }),
    );
    const whole = await runToEnd(options({ order: "order.json" }));
    expect(whole.error).toBeNull();
    const spec = JSON.parse(readFileSync(paths(home.run).worker, "utf8")) as {
      data: { order: number[] };
      layout: WorkerLayout;
    };
    expect(spec.data.order.slice(0, 10)).toEqual([15, 14, 11, 10, 13, 12, 9, 8, 7, 6]);
    expect(spec.data.order.slice(16)).toEqual(Array.from({ length: 48 }, (_, i) => 16 + i));
    const wanted = outcome();
    rmSync(home.run, { recursive: true });

    let killed = false;
    const healed = await runToEnd({
      ...options({ order: "order.json" }),
      zygote: () => ok(deadlyZygote({ TEST_HOLD: "1:saved:2" })),
      onEvent: (event) => {
        if (event.kind !== "checkpoint" || killed) return;
        killed = true;
        rmSync(order);
        process.kill((home.agent().ranks[1] as { pid: number }).pid, "SIGKILL");
      },
    });
    expect([healed.error, killed]).toEqual([null, true]);
    const steps = new Map(
      told("step")
        .filter((one) => one.rank === 0)
        .map((one) => [one.step, one["loss"]]),
    );
    const [losses, state] = wanted as [[number, number, number][], unknown];
    expect([...steps]).toEqual(losses.map(([step, loss]) => [step, loss]));
    expect((outcome() as unknown[])[1]).toEqual(state);
    // The file is gone and the ranks are fewer: the order that was begun goes on.
    const { recipe: asked } = options({ order: "order.json" }).loaded;
    const context = { recipe: asked, recipeFolder: home.folder, folder: home.run };
    const rows = rowsInOrder(
      context,
      { ...spec.layout, dpShard: 1, ep: 1 },
      join(home.folder, "train.safetensors"),
    );
    expect(rows).toEqual(spec.data.order);
  },
  5 * MINUTES,
);
