/**
 * Figure 2: bytes moved after drift at equal balance, from the present placement against plans from scratch.
 *   node bench/experts/migration.ts [--peer eplb.py]
 * "scratch" is our planner starting over (goal 1.005 x bound, as the migration), as it comes and after renaming its ranks to the best
 * overlap. The peer starts over too; there the migration stops at the peer's own max/mean, layer by layer. Where the peer's old plan has
 * an expert twice on a rank, parting them counts as moves.
 */
import { unwrap } from "../../src/base/index.ts";
import {
  drift,
  layerBound,
  layerLoads,
  layerMoves,
  layerSlots,
  matchRanks,
  maxOverMean,
  migrateLayer,
  partTwins,
  plan,
  type Skew,
} from "../../src/experts/index.ts";
import { runPeer } from "./peer.ts";
import { BIG, line, loadsOf, machine, nameOf, option, shapeOf, verdict } from "./shared.ts";

const shape = shapeOf(BIG);
const skews: readonly Skew[] = [
  { kind: "lognormal", cv: 0.3 },
  { kind: "lognormal", cv: 0.5 },
  { kind: "lognormal", cv: 0.9 },
  { kind: "zipf", s: 0.9 },
];
const GiB = 925e6 / 2 ** 30;
const widths = [18, 6, 9, 9, 9, 9, 9, 8, 9, 9, 9];
console.log(`figure 2: migration, 61 x 384 -> 448 slots, 64 ranks, 8 nodes, 925 MB an expert; ${machine()}`);
console.log(
  line(
    [
      "loads",
      "drift",
      "scratch",
      "renamed",
      "ours",
      "network",
      "x fewer",
      "renamed",
      "scratch",
      "ours",
      "CPU ms",
    ],
    widths,
  ),
);
console.log(line(["", "", "GiB", "GiB", "GiB", "GiB", "", "x", "max/mean", "max/mean", "plan"], widths));
let least = Number.POSITIVE_INFINITY;
const cases = skews.flatMap((skew) => [0.02, 0.1, 0.3].map((change) => ({ skew, change })));
const runs = cases.map(({ skew, change }) => {
  const before = loadsOf(skew);
  const now = drift(before, change, 11);
  const old = unwrap(plan(before, shape)).placement;
  const fresh = unwrap(plan(now, shape, { goal: 1.005 }));
  const sum = { scratch: 0, renamed: 0, ours: 0, network: 0, scratchRatio: 0, ratio: 0, cpu: 0 };
  for (let l = 0; l < now.layers; l++) {
    const row = layerLoads(now, l);
    const had = layerSlots(old, l);
    const scratch = layerSlots(fresh.placement, l);
    sum.scratch += layerMoves(shape, l, had, scratch).length;
    sum.renamed += layerMoves(shape, l, had, matchRanks(shape, had, scratch)).length;
    const start = process.cpuUsage();
    const moved = migrateLayer(shape, had, row, layerBound(shape, row).time * 1.005);
    sum.cpu += process.cpuUsage(start).user / 1000;
    const moves = layerMoves(shape, l, had, moved.slots);
    sum.ours += moves.length;
    sum.network += moves.filter((move) => move.link === "network").length;
    sum.scratchRatio += maxOverMean(shape, scratch, row) / now.layers;
    sum.ratio += maxOverMean(shape, moved.slots, row) / now.layers;
  }
  least = Math.min(least, sum.scratch / sum.ours);
  console.log(
    line(
      [
        nameOf(skew),
        `${change * 100} %`,
        (sum.scratch * GiB).toFixed(0),
        (sum.renamed * GiB).toFixed(0),
        (sum.ours * GiB).toFixed(0),
        (sum.network * GiB).toFixed(0),
        (sum.scratch / sum.ours).toFixed(1),
        (sum.renamed / sum.ours).toFixed(1),
        sum.scratchRatio.toFixed(4),
        sum.ratio.toFixed(4),
        sum.cpu.toFixed(0),
      ],
      widths,
    ),
  );
  return { skew, change, now, before };
});
verdict(
  `at least 5 x fewer bytes than from scratch, both within 1.005 of the bound (least ${least.toFixed(1)} x)`,
  least >= 5,
);

const peer = option("peer");
if (peer !== undefined) {
  const job = { slots: shape.slots, groups: 1, nodes: 1, ranks: shape.ranks };
  const answers = runPeer(
    peer,
    runs.flatMap(({ before, now }) => [before, now].map((loads) => ({ loads, ...job }))),
  );
  const columns = [18, 6, 10, 10, 10, 9, 10, 10];
  console.log(
    `\nbeside ${peer}: it plans the old and the new loads; we start from its old plan and stop at its new max/mean`,
  );
  console.log(
    line(["loads", "drift", "peer GiB", "renamed", "ours GiB", "x fewer", "peer", "ours"], columns),
  );
  let [fewest, most] = [Number.POSITIVE_INFINITY, 0];
  runs.forEach(({ skew, change, now }, i) => {
    const sum = { peer: 0, renamed: 0, ours: 0, peerRatio: 0, ratio: 0 };
    for (let l = 0; l < now.layers; l++) {
      const row = layerLoads(now, l);
      const had = Int32Array.from(answers[2 * i]?.slots[l] ?? []);
      const got = Int32Array.from(answers[2 * i + 1]?.slots[l] ?? []);
      const target = (maxOverMean(shape, got, row) * row.reduce((all, w) => all + w, 0)) / shape.ranks;
      const moved = migrateLayer(shape, partTwins(shape, had, row), row, target);
      sum.peer += layerMoves(shape, l, had, got).length;
      sum.renamed += layerMoves(shape, l, had, matchRanks(shape, had, got)).length;
      sum.ours += layerMoves(shape, l, had, moved.slots).length;
      sum.peerRatio += maxOverMean(shape, got, row) / now.layers;
      sum.ratio += maxOverMean(shape, moved.slots, row) / now.layers;
    }
    fewest = Math.min(fewest, sum.peer / sum.ours);
    most = Math.max(most, sum.peer / sum.ours);
    const cells = [(sum.peer * GiB).toFixed(0), (sum.renamed * GiB).toFixed(0), (sum.ours * GiB).toFixed(0)];
    const ratios = [(sum.peer / sum.ours).toFixed(1), sum.peerRatio.toFixed(4), sum.ratio.toFixed(4)];
    console.log(line([nameOf(skew), `${change * 100} %`, ...cells, ...ratios], columns));
  });
  console.log(
    `ratio: ${fewest.toFixed(1)} to ${most.toFixed(1)} times fewer bytes than the peer at its own balance`,
  );
}
