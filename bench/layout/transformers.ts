/**
 * Parameters of every model family against transformers' own classes, built on the meta device from their default configs.
 *   node bench/layout/transformers.ts [model_type ...]
 * Uses the Python of TESSERA_PYTHON or .venv. Families that the importer refuses are listed by name; a wrong count fails.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { bodyWeights, countParameters, elements, importModel, type Model } from "../../src/model/index.ts";

const venv = resolve(import.meta.dirname, "../../.venv/bin/python");
const python = process.env["TESSERA_PYTHON"] ?? (existsSync(venv) ? venv : "python3");
const script = resolve(import.meta.dirname, "transformers_count.py");
const run = spawnSync(python, [script, ...process.argv.slice(2)], {
  encoding: "utf8",
  maxBuffer: 2 ** 28,
  stdio: ["ignore", "pipe", "inherit"],
});
if (run.status !== 0) throw new Error(`${python} ended with ${run.status}`);

type Line = { type: string; parameters?: number; config?: unknown; error?: string };
const lines = run.stdout
  .split("\n")
  .filter(Boolean)
  .map((line) => JSON.parse(line) as Line);
const exact: string[] = [];
const wrong: string[] = [];
const refused: string[] = [];
const unbuilt: string[] = [];
const known: string[] = [];
/** Where the class itself is at odds with the published model. */
const KNOWN: Readonly<Record<string, string>> = {
  longcat_flash:
    "the class gives gate and up matrices to the 256 experts that pass tokens on; the published model is 560 B",
};
const biases = (model: Model): number =>
  model.layers.reduce(
    (sum, { body }) =>
      sum +
      bodyWeights(body)
        .filter((w) => w.counted && !w.trained)
        .reduce((all, w) => all + elements(w), 0),
    0,
  );
for (const { type, parameters, config, error } of lines) {
  if (parameters === undefined) {
    unbuilt.push(`${type} (${error ?? "?"})`);
    continue;
  }
  const read = importModel(config, { name: type });
  if (!read.ok) {
    refused.push(type);
    if (process.argv.length > 2) console.log(`${type}: ${read.error.message}`);
    continue;
  }
  // The planner reads the text part of a multimodal model; the class counts its towers too.
  if ((config as { text_config?: unknown }).text_config) continue;
  // The classes leave out multi-token-prediction modules, and hold router biases as buffers.
  const mine = countParameters(read.value).main;
  if (mine === parameters || mine - biases(read.value) === parameters) exact.push(type);
  else {
    const why = KNOWN[type];
    (why ? known : wrong).push(
      `${type}: ${mine.toLocaleString("en")} here, ${parameters.toLocaleString("en")} there${why ? ` (${why})` : ""}`,
    );
  }
}
console.log(`${exact.length} families exact: ${exact.join(", ")}`);
console.log(`\n${wrong.length} differ${wrong.map((line) => `\n  ${line}`).join("")}`);
console.log(`\n${known.length} differ for a known reason${known.map((line) => `\n  ${line}`).join("")}`);
console.log(`\n${refused.length} refused by type: ${refused.join(", ")}`);
console.log(`\n${unbuilt.length} not built by transformers from defaults: ${unbuilt.join("; ")}`);
if (wrong.length > 0) process.exit(1);
