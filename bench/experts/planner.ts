/**
 * Figure 1: 61 layers x 384 experts -> 448 slots on 64 ranks of 8 nodes. Every layer at most 1.005 x its bound, the plan at most 50 ms.
 *   node bench/experts/planner.ts [--peer eplb.py] [--loads recorded.ndjson]
 * --loads: loads of a real model (bench/experts/record.py makes some), eight experts and a spare slot a rank.
 */
import { readFileSync } from "node:fs";
import { unwrap } from "../../src/base/index.ts";
import {
  inNodeBound,
  layerBound,
  layerLoads,
  layerSlots,
  type Loads,
  maxOverMean,
  meanLoads,
  plan,
  readLoads,
} from "../../src/experts/index.ts";
import { runPeer } from "./peer.ts";
import { BIG, line, loadsOf, machine, nameOf, option, shapeOf, SKEWS, timed, verdict } from "./shared.ts";

const shape = shapeOf(BIG);
const widths = [18, 9, 9, 9, 9, 9, 11];
console.log(`figure 1: planner, 61 x 384 -> 448 slots, 64 ranks, 8 nodes; ${machine()}`);
console.log(line(["loads", "CPU ms", "wall ms", "bound us", "max/mean", "worst", "worst/bound"], widths));
let slowest = 0;
let furthest = 0;
const ours = SKEWS.map((skew) => {
  const loads = loadsOf(skew);
  const bounds = timed(5, () => loads.ids.map((_, l) => layerBound(shape, layerLoads(loads, l))));
  const result = timed(9, () => unwrap(plan(loads, shape)));
  const { layers, placement } = result.value;
  const mean = layers.reduce((sum, layer) => sum + layer.ratio, 0) / layers.length;
  const worst = Math.max(...layers.map((layer) => layer.ratio));
  const toBound = Math.max(...layers.map((layer) => layer.toBound));
  slowest = Math.max(slowest, result.cpuMs);
  furthest = Math.max(furthest, toBound);
  const boundUs = (bounds.cpuMs * 1000) / loads.layers;
  console.log(
    line(
      [
        nameOf(skew),
        result.cpuMs.toFixed(1),
        result.wallMs.toFixed(1),
        boundUs.toFixed(0),
        mean.toFixed(4),
        worst.toFixed(4),
        toBound.toFixed(4),
      ],
      widths,
    ),
  );
  return { skew, loads, placement, mean, cpuMs: result.cpuMs };
});
const recorded = option("loads");
if (recorded !== undefined) {
  const steps = unwrap(readLoads(readFileSync(recorded, "utf8"), recorded));
  const last = unwrap(meanLoads(steps.slice(-50)));
  const ranks = Math.max(1, Math.floor(last.experts / 8));
  const own = shapeOf({
    experts: last.experts,
    ranks,
    slots: (Math.floor(last.experts / ranks) + 1) * ranks,
  });
  const worst = (loads: Loads) =>
    unwrap(plan(loads, own)).layers.reduce((a, b) => (b.toBound > a.toBound ? b : a));
  const each = steps.slice(-50).map(worst);
  const far = each.reduce((a, b) => (b.toBound > a.toBound ? b : a));
  const mean = worst(last);
  console.log(
    `recorded ${recorded}: ${last.layers} layers, ${last.experts} experts, ${ranks} ranks, ${own.slots} slots; ` +
      `mean of the last 50 steps ${mean.ratio.toFixed(4)} (${mean.toBound.toFixed(4)} of the bound), ` +
      `worst step ${far.ratio.toFixed(4)} (${far.toBound.toFixed(4)})`,
  );
  furthest = Math.max(furthest, far.toBound, mean.toBound);
}
/** The group rule: how far from the bound, and from what its nodes leave the ranks. */
let slowestGrouped = 0;
let furthestGrouped = 0;
const grouped = shapeOf({ ...BIG, groups: 16 });
console.log("\n16 groups of a group-limited router, each whole on one of the 8 nodes");
console.log(
  line(["loads", "CPU ms", "bound us", "max/mean", "worst/bound", "in nodes", "us"], [18, 9, 9, 9, 11, 9, 9]),
);
for (const { skew, loads } of ours) {
  const { cpuMs, value } = timed(5, () => unwrap(plan(loads, grouped)));
  const bounds = timed(5, () => loads.ids.map((_, l) => layerBound(grouped, layerLoads(loads, l))));
  const rows = loads.ids.map((_, l) => [layerSlots(value.placement, l), layerLoads(loads, l)] as const);
  const inNodes = timed(5, () => rows.map(([slots, row]) => inNodeBound(grouped, slots, row)));
  const toBound = Math.max(...value.layers.map((layer) => layer.toBound));
  const toNodes = Math.max(...value.layers.map((layer, l) => layer.ratio / (inNodes.value[l] as number)));
  const mean = value.layers.reduce((sum, layer) => sum + layer.ratio, 0) / rows.length;
  const us = (each: { cpuMs: number }) => ((each.cpuMs * 1000) / rows.length).toFixed(0);
  slowestGrouped = Math.max(slowestGrouped, cpuMs);
  furthestGrouped = Math.max(furthestGrouped, toBound);
  const levels = [mean, toBound, toNodes].map((level) => level.toFixed(4));
  console.log(
    line([nameOf(skew), cpuMs.toFixed(0), us(bounds), ...levels, us(inNodes)], [18, 9, 9, 9, 11, 9, 9]),
  );
}
console.log("");
verdict(`every layer within 1.005 of its bound (worst ${furthest.toFixed(4)})`, furthest <= 1.005);
verdict(`whole plan within 50 ms of one thread (slowest ${slowest.toFixed(1)} ms)`, slowest <= 50);
verdict(
  `16 groups: every layer within 1.005 of its bound (worst ${furthestGrouped.toFixed(4)})`,
  furthestGrouped <= 1.005,
);
verdict(`16 groups: whole plan within 50 ms (slowest ${slowestGrouped.toFixed(1)} ms)`, slowestGrouped <= 50);

const peerAt = process.argv.indexOf("--peer");
if (peerAt >= 0) {
  const job = { slots: shape.slots, groups: 1, nodes: 1, ranks: shape.ranks };
  const answers = runPeer(
    process.argv[peerAt + 1] as string,
    ours.map(({ loads }) => ({ loads, ...job })),
  );
  console.log(
    `\nbeside ${process.argv[peerAt + 1]} on the same loads (its global mode), CPU time of one thread each`,
  );
  const columns = [18, 9, 9, 11, 11, 11, 11];
  console.log(
    line(["loads", "peer ms", "x time", "peer mean", "our mean", "x max/mean", "duplicates"], columns),
  );
  const ratios: { time: number; level: number }[] = [];
  answers.forEach((answer, i) => {
    const own = ours[i] as (typeof ours)[0];
    let mean = 0;
    let duplicates = 0;
    answer.slots.forEach((slots, l) => {
      const row = Int32Array.from(slots);
      mean += maxOverMean(shape, row, layerLoads(own.loads, l)) / own.loads.layers;
      for (let r = 0; r < shape.ranks; r++) duplicates += 7 - new Set(row.subarray(r * 7, r * 7 + 7)).size;
    });
    const ratio = { time: answer.cpuMs / own.cpuMs, level: mean / own.mean };
    ratios.push(ratio);
    console.log(
      line(
        [
          nameOf(own.skew),
          answer.cpuMs.toFixed(0),
          ratio.time.toFixed(0),
          mean.toFixed(4),
          own.mean.toFixed(4),
          ratio.level.toFixed(4),
          duplicates,
        ],
        columns,
      ),
    );
  });
  const range = (of: (ratio: (typeof ratios)[0]) => number, digits: number) =>
    [Math.min, Math.max].map((pick) => pick(...ratios.map(of)).toFixed(digits)).join(" to ");
  console.log(
    `ratio: the peer takes ${range((ratio) => ratio.time, 0)} times the processor time; its mean max/mean is ${range((ratio) => ratio.level, 4)} times ours`,
  );
}
// Shown so that a reader can check a layer by hand.
const first = ours[2] as (typeof ours)[0];
console.log(
  `\nfirst rank of layer 0, ${nameOf(first.skew)}: experts ${Array.from(layerSlots(first.placement, 0).subarray(0, 7)).join(" ")}`,
);
