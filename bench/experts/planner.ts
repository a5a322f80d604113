/**
 * Figure 1: 61 layers x 384 experts -> 448 slots on 64 ranks of 8 nodes. Every layer at most 1.005 x its bound, the plan at most 50 ms.
 *   node bench/experts/planner.ts [--peer eplb.py]
 */
import { unwrap } from "../../src/base/index.ts";
import { layerBound, layerLoads, layerSlots, maxOverMean, plan } from "../../src/experts/index.ts";
import { runPeer } from "./peer.ts";
import { BIG, line, loadsOf, machine, nameOf, shapeOf, SKEWS, timed, verdict } from "./shared.ts";

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
verdict(`every layer within 1.005 of its bound (worst ${furthest.toFixed(4)})`, furthest <= 1.005);
verdict(`whole plan within 50 ms of one thread (slowest ${slowest.toFixed(1)} ms)`, slowest <= 50);

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
  const columns = [18, 10, 9, 11, 11, 11];
  console.log(line(["loads", "peer ms", "x time", "peer mean", "our mean", "duplicates"], columns));
  answers.forEach((answer, i) => {
    const own = ours[i] as (typeof ours)[0];
    let mean = 0;
    let duplicates = 0;
    answer.slots.forEach((slots, l) => {
      const row = Int32Array.from(slots);
      mean += maxOverMean(shape, row, layerLoads(own.loads, l)) / own.loads.layers;
      for (let r = 0; r < shape.ranks; r++) duplicates += 7 - new Set(row.subarray(r * 7, r * 7 + 7)).size;
    });
    console.log(
      line(
        [
          nameOf(own.skew),
          answer.cpuMs.toFixed(0),
          (answer.cpuMs / own.cpuMs).toFixed(0),
          mean.toFixed(4),
          own.mean.toFixed(4),
          duplicates,
        ],
        columns,
      ),
    );
  });
}
// Shown so that a reader can check a layer by hand.
const first = ours[2] as (typeof ours)[0];
console.log(
  `\nfirst rank of layer 0, ${nameOf(first.skew)}: experts ${Array.from(layerSlots(first.placement, 0).subarray(0, 7)).join(" ")}`,
);
