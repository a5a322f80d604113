/** What benchmarks of whole runs share: a run on the real engine in this process, files made by Python, and the middle of a list. */
import { spawnSync } from "node:child_process";
import { unwrap } from "../src/base/index.ts";
import {
  engineEnv,
  enginePython,
  engineZygote,
  type LoadedRecipe,
  loadRecipe,
  localLauncher,
  type RunOptions,
} from "../src/run/index.ts";
import { nightWatch } from "../src/watch/index.ts";

export function recipeIn(file: string): LoadedRecipe {
  const loaded = loadRecipe(file);
  if (!loaded.ok) throw loaded.error[0];
  return loaded.value;
}

/** Options of a run of `recipe` in `folder` on local ranks. */
export const benchRun = (folder: string, loaded: LoadedRecipe): RunOptions => ({
  folder,
  id: "bench",
  loaded,
  version: "bench",
  phases: {},
  launcher: (world) => localLauncher([{ agent: "0", ranks: world }]),
  watch: nightWatch,
  zygote: () => engineZygote(process.env),
  env: process.env,
  onProgress: () => undefined,
});

/** Runs a script with the engine's Python; throws what it says when it fails. */
export function python(script: string, ...args: string[]): void {
  const made = spawnSync(unwrap(enginePython(process.env)), [script, ...args], {
    env: { ...process.env, ...engineEnv(process.env) },
    stdio: ["ignore", "ignore", "pipe"],
    encoding: "utf8",
  });
  if (made.status !== 0) throw new Error(made.stderr);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  if (sorted.length === 0) return Number.NaN;
  return ((sorted[(sorted.length - 1) >> 1] as number) + (sorted[sorted.length >> 1] as number)) / 2;
}
