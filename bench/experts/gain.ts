/**
 * Figure 5, simulated: a skewed run replayed with the controller on and off. Step time is the slowest rank's expert time of each layer
 * plus the rest of the step (a share of the balanced expert time); no engine, no cards: the measured figure comes from the live run.
 *   node bench/experts/gain.ts
 */
import { unwrap } from "../../src/base/index.ts";
import {
  type CostModel,
  decide,
  layerSlots,
  type Loads,
  makeUpHistory,
  maxOverMean,
  type Placement,
  startPlacement,
} from "../../src/experts/index.ts";
import { line, machine, shapeOf, verdict } from "./shared.ts";

const shape = shapeOf({ experts: 128, ranks: 16, slots: 144, nodes: 2 });
const cost: CostModel = {
  secondsPerToken: 2e-6,
  bytesPerExpert: 5e7,
  nodeBytesPerSecond: 2e11,
  networkBytesPerSecond: 2.5e10,
  fixedSeconds: 0.05,
};
/** Attention, all-to-all and the optimizer, as a share of the expert time at perfect balance. */
const REST = 0.5;
const EVERY = 20;
const recipe = {
  layers: 8,
  experts: 128,
  steps: 240,
  tokens: 800_000,
  keep: 0.998,
  wander: 0.1,
  overDispersion: 3,
};

const secondsOf = (loads: Loads, placement: Placement) => {
  let experts = 0;
  let even = 0;
  for (let l = 0; l < loads.layers; l++) {
    const row = loads.values.subarray(l * loads.experts, (l + 1) * loads.experts);
    const mean = (row.reduce((sum, w) => sum + w, 0) / shape.ranks) * cost.secondsPerToken;
    experts += maxOverMean(shape, layerSlots(placement, l), row) * mean;
    even += mean;
  }
  return { experts, step: experts + REST * even };
};

console.log(`figure 5, simulated: controller on against off; ${machine()}`);
const widths = [26, 7, 9, 9, 7, 13, 12];
console.log(line(["loads", "moves", "off s", "on s", "gain", "forecast err", "ms/decision"], widths));
for (const { name, skew, bar } of [
  { name: "SFT-like, CV 0.9", skew: { kind: "lognormal", cv: 0.9 } as const, bar: 1.15 },
  { name: "SFT-like, CV 0.5", skew: { kind: "lognormal", cv: 0.5 } as const, bar: 0 },
  { name: "balanced", skew: { kind: "zipf", s: 0 } as const, bar: 0 },
]) {
  const wander = name === "balanced" ? 0 : recipe.wander;
  const history = makeUpHistory({ ...recipe, wander, skew, seed: 21 });
  const still = startPlacement([0, 1, 2, 3, 4, 5, 6, 7], shape);
  let placement = still;
  let on = 0;
  let off = 0;
  let moves = 0;
  let error = 0;
  let spent = 0;
  let decisions = 0;
  history.forEach((loads, step) => {
    off += secondsOf(loads, still).step;
    on += secondsOf(loads, placement).step;
    if (step % EVERY !== EVERY - 1 || step + EVERY >= history.length) return;
    const start = performance.now();
    const decision = unwrap(
      decide(history.slice(Math.max(0, step - 39), step + 1), placement, cost, {
        mode: "act",
        horizonSteps: history.length - step,
      }),
    );
    spent += performance.now() - start;
    decisions++;
    if (decision.action !== "act") return;
    const next = history.slice(step + 1, step + 1 + EVERY);
    const saved =
      next.reduce(
        (sum, row) => sum + secondsOf(row, placement).experts - secondsOf(row, decision.placement).experts,
        0,
      ) / next.length;
    if (moves === 0) error = decision.forecast.savedSecondsPerStep / saved - 1;
    on += decision.forecast.moveSeconds;
    moves++;
    placement = decision.placement;
  });
  const shown = moves > 0 ? `${(error * 100).toFixed(1)} %` : "-";
  console.log(
    line(
      [
        name,
        moves,
        off.toFixed(0),
        on.toFixed(0),
        (off / on).toFixed(2),
        shown,
        (spent / decisions).toFixed(0),
      ],
      widths,
    ),
  );
  if (name === "balanced") verdict("no action on a balanced run", moves === 0);
  else if (bar > 0)
    verdict(`gain at least ${bar} x, first forecast within 20 %`, off / on >= bar && Math.abs(error) <= 0.2);
}
