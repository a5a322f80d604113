/** Parameter totals of published models against what their authors (or transformers' classes) count. */
import { countParameters } from "../../src/model/index.ts";
import { load, ROWS } from "./published-models.ts";
import { percent } from "./shared.ts";

let worst = 0;
let wrong = 0;
for (const { name, source, parameters, active } of ROWS) {
  if (!parameters) continue;
  const counts = countParameters(load(source));
  const mine = parameters.mtp ? counts.total : counts.main;
  const error = mine / parameters.count - 1;
  worst = Math.max(worst, Math.abs(error));
  const exact = parameters.exact ? (mine === parameters.count ? "exact" : "NOT EXACT") : percent(error, 3);
  if (exact === "NOT EXACT") wrong++;
  const touched =
    active === undefined
      ? ""
      : `, active ${(counts.active / 1e9).toFixed(3)} B (${percent(counts.active / 1e9 / active - 1)})`;
  console.log(`${name.padEnd(20)} ${mine.toLocaleString("en").padStart(20)} ${exact.padStart(10)}${touched}`);
}
console.log(`\nworst error ${percent(worst, 3)}; ${wrong} of the exact rows differ`);
if (wrong > 0 || worst > 0.001) process.exit(1);
