/**
 * How well step times are predicted.
 *   node bench/layout/time.ts [--all]    B200 cases (fitted on 4-micro-batch rows only), then published runs (one anchor a device)
 * Reads data/simumax_cases.csv and data/published_runs.csv of the reference folder (TESSERA_SHARED).
 */
import { presetCluster } from "../../src/cluster/index.ts";
import { irreducible, publishedRuns, type RunResult } from "./published.ts";
import { machine, percent } from "./shared.ts";
import { estimate, node, simumaxCases } from "./simumax.ts";

const stats = (errors: readonly number[]) => {
  const mean = errors.reduce((sum, e) => sum + Math.abs(e), 0) / errors.length;
  const bias = errors.reduce((sum, e) => sum + e, 0) / errors.length;
  const worst = errors.reduce((a, e) => (Math.abs(e) > Math.abs(a) ? e : a), 0);
  return `${errors.length} rows: mean ${percent(mean).slice(1)}, worst ${percent(worst)}, bias ${percent(bias)}`;
};

console.log(machine());
const b200 = presetCluster("b200", 8);
if (!b200) throw new Error("no B200 preset");
const cases = simumaxCases().filter((c) => c.set.startsWith("B200"));
const errors = cases.map((c) => ({
  c,
  error:
    estimate(
      c,
      node((d) => d),
    ).seconds /
      c.seconds -
    1,
}));
console.log("\nB200, one node, measured by SimuMax");
for (const { c, error } of errors) {
  console.log(
    `  ${c.name.padEnd(52)} m${String(c.micros).padEnd(3)} ${(c.seconds * 1e3).toFixed(1).padStart(8)} ms ${percent(error).padStart(9)}`,
  );
}
const of = (test: (c: (typeof cases)[number]) => boolean) =>
  errors.filter(({ c }) => test(c)).map(({ error }) => error);
console.log(`fitted rows (m = 4)     ${stats(of((c) => c.micros === 4 && c.set.includes("formal")))}`);
console.log(`other rows              ${stats(of((c) => c.micros !== 4 || !c.set.includes("formal")))}`);
console.log(
  `goal: other rows mean 3 %, worst 8 %, bias within 1 %; best peer on all rows 5.62 % / 13.54 %, bias -5.6 %`,
);

const a100 = presetCluster("a100-pcie", 8);
if (!a100) throw new Error("no A100 preset");
const crossed = simumaxCases()
  .filter((c) => c.set.startsWith("A100"))
  .map((c) => estimate(c, a100).seconds / c.seconds);
const middle = crossed.toSorted((a, b) => a - b)[crossed.length >> 1] as number;
console.log(
  "\nA100 PCIe, one node: kernels and links of the preset from published tables of single operators, no step fitted",
);
console.log(`  as it stands            ${stats(crossed.map((ratio) => ratio - 1))}`);
console.log(`  over its middle ratio   ${stats(crossed.map((ratio) => ratio / middle - 1))}`);

const { devices, skipped } = publishedRuns();
const all: RunResult[] = [];
const aside: RunResult[] = [];
console.log(
  "\nPublished runs: one anchor a device (the run in the middle of its ratios), its others predicted",
);
for (const device of devices) {
  const named = (run: RunResult) => ({ ...run, label: `${device.id} ${run.label}` });
  all.push(...device.runs.map(named));
  aside.push(...device.aside.map(named));
  console.log(
    `  ${device.id.padEnd(11)} anchor x${device.factor.toFixed(2)} ${device.anchor.slice(0, 60).padEnd(60)} ${device.runs.length > 0 ? stats(device.runs.map((r) => r.error)) : "no other run"}`,
  );
}
console.log(`all devices             ${stats(all.map((r) => r.error))}   goal: mean 10 %`);
const spread = (errors: readonly number[]) => {
  const sorted = errors.map(Math.abs).sort((a, b) => a - b);
  const at = (q: number) => percent(sorted[Math.floor(q * (sorted.length - 1))] as number, 1).slice(1);
  const below = (limit: number) => sorted.filter((e) => e <= limit).length;
  return `error of the middle run ${at(0.5)}, of nine in ten ${at(0.9)}; ${below(0.1)} within 10 %, ${below(0.2)} within 20 %, ${below(0.4)} within 40 %`;
};
console.log(`  ${spread(all.map((r) => r.error))}`);
const unseen = devices.flatMap((device) => device.unseen);
console.log(`anchor of another family ${stats(unseen)}`);
console.log(`  ${spread(unseen)}`);
const plain = publishedRuns(true).devices;
console.log(
  `asked by what the row prints and its stack's name alone: ${stats(plain.flatMap(({ runs }) => runs.map((r) => r.error)))}; no anchor ${stats(plain.flatMap(({ free }) => free))}`,
);
const everything = [...all, ...aside].map((r) => r.error);
console.log(`rows set aside counted too ${stats(everything)}`);
const floor = irreducible(all);
console.log(
  `  no model with one answer to one question can be below ${percent(floor.floor, 1).slice(1)}: ${floor.rows} of these runs ask for the same as another, and differ by release; widest ${floor.widest}`,
);
console.log(`left out: ${[...skipped].map(([why, count]) => `${count} ${why}`).join(", ")}`);
console.log("set aside by what their source says of them (error with the device's anchor)");
for (const run of aside) console.log(`  ${percent(run.error, 1).padStart(9)}  ${run.label}  ${run.reason}`);
console.log("\nWorst ten");
for (const run of all.sort((a, b) => Math.abs(b.error) - Math.abs(a.error)).slice(0, 10)) {
  console.log(`  ${percent(run.error, 1).padStart(9)}  ${run.label}  ${run.reason}`);
}
if (process.argv.includes("--all")) {
  console.log("\nAll");
  for (const run of all) console.log(`  ${percent(run.error, 1).padStart(9)}  ${run.label}`);
}
