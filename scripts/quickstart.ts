/**
 * The quick start: the main job on real input, with a fault in the middle. Run by `npm run quickstart`, which installs first.
 * Extra words go to `tessera run`, e.g. `npm run quickstart -- --lang zh`.
 */
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const done = spawnSync(
  process.execPath,
  [
    join(root, "bin", "tessera.mjs"),
    "run",
    join(root, "examples", "operations-research", "recipe.yaml"),
    "--drill",
    "1@110",
    ...process.argv.slice(2),
  ],
  { stdio: "inherit" },
);
process.exitCode = done.status ?? 1;
