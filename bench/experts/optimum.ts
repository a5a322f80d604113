/**
 * Figure 3: 40 random small layers without replicas against a mixed-integer solver with a proof, and the golden cases.
 *   node bench/experts/optimum.ts
 */
import { createRequire } from "node:module";
import { Random, unwrap } from "../../src/base/index.ts";
import { makeLoads, makeUpLoads, plan, type ShapeRequest } from "../../src/experts/index.ts";
import { machine, shapeOf, verdict } from "./shared.ts";

// The solver is a CommonJS module whose types say otherwise.
const highs = await (createRequire(import.meta.url)("highs") as () => Promise<import("highs").Highs>)();
console.log(`figure 3: optimum, ${machine()}`);
const random = new Random(40);
let worst = 1;
let unproven = 0;
for (let i = 0; i < 40; i++) {
  const ranks = random.int(2, 4);
  const perRank = random.int(2, Math.floor(16 / ranks));
  const experts = ranks * perRank;
  const cv = random.pick([0.3, 0.6, 1]);
  const loads = makeUpLoads(1, experts, { kind: "lognormal", cv }, random.uint32(), 10_000);
  const { layers } = unwrap(plan(loads, shapeOf({ experts, ranks }), { goal: 1 }));
  const time = ((layers[0]?.ratio ?? 1) * loads.values.reduce((sum, w) => sum + w, 0)) / ranks;
  const ids = Array.from({ length: experts }, (_, e) => e);
  const bins = Array.from({ length: ranks }, (_, r) => r);
  const model = [
    "Minimize",
    " t",
    "Subject To",
    ...ids.map((e) => ` one${e}: ${bins.map((r) => `x${e}_${r}`).join(" + ")} = 1`),
    ...bins.map((r) => ` full${r}: ${ids.map((e) => `x${e}_${r}`).join(" + ")} = ${perRank}`),
    ...bins.map((r) => ` load${r}: ${ids.map((e) => `${loads.values[e]} x${e}_${r}`).join(" + ")} - t <= 0`),
    // Ranks are alike: the heaviest expert stands on the first.
    ` first: x${[...ids].sort((a, b) => (loads.values[b] as number) - (loads.values[a] as number))[0]}_0 = 1`,
    "Binary",
    ` ${ids.flatMap((e) => bins.map((r) => `x${e}_${r}`)).join(" ")}`,
    "End",
  ];
  const solved = highs.solve(model.join("\n"), { time_limit: 60, mip_rel_gap: 0 });
  if (solved.Status !== "Optimal") unproven++;
  worst = Math.max(worst, time / solved.ObjectiveValue);
}
verdict(
  `40 small cases within 1 % of the optimum (worst ${worst.toFixed(5)}, not proven in time: ${unproven})`,
  worst <= 1.01 && unproven === 0,
);

const EPLB = [
  [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
  [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
];
const golden: [string, number[][], ShapeRequest, string[]][] = [
  [
    "EPLB's layers, group rule",
    EPLB,
    { experts: 12, ranks: 8, slots: 16, nodes: 2, groups: 4 },
    ["1.1694", "1.2422"],
  ],
  ["EPLB's layers, no rule", EPLB, { experts: 12, ranks: 8, slots: 16 }, ["1.0532", "1.1903"]],
  [
    "FlashLB's layer",
    [[600, 560, 120, 120, 20, 10, 10, 10]],
    { experts: 8, ranks: 8, slots: 16 },
    ["1.0851"],
  ],
];
for (const [name, rows, request, want] of golden) {
  const { layers } = unwrap(plan(unwrap(makeLoads(rows)), shapeOf(request), { goal: 1 }));
  const got = layers.map((layer) => layer.ratio.toFixed(4));
  verdict(`${name}: ${got.join(" ")} (optimum ${want.join(" ")})`, got.join() === want.join());
}
