/**
 * Solves every published LP of B4O-Feasible and compares with the stated optimum.
 * node bench/b4o.ts FOLDER   (with test.jsonl and lp_code/)
 */
import { cpus } from "node:os";
import { solveB4o } from "../src/domains/or/index.ts";

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error("node bench/b4o.ts FOLDER");
const start = performance.now();
const outcomes = await solveB4o(folder);
const seconds = (performance.now() - start) / 1000;
for (const each of outcomes) {
  if (each.outcome !== "reproduced")
    console.log(`${each.id} (${each.lp}), stated ${each.stated}: ${each.reason}`);
}
const reproduced = outcomes.filter(({ outcome }) => outcome === "reproduced").length;
console.log(
  `${reproduced} of ${outcomes.length} stated optima reproduced (relative 1e-6) in ${seconds.toFixed(0)} s`,
);
console.log(`${cpus()[0]?.model}, one thread, node ${process.version}`);
