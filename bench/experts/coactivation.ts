/**
 * Figure 6: distinct remote nodes per token on held-out tokens, experts grouped by co-activation against experts in order.
 *   node bench/experts/coactivation.ts [--trace recorded.ndjson] [--nodes 8]
 * A recorded trace has one line a layer: {"layer":0,"experts":64,"k":6,"chosen":[...]}, k expert ids a token. Without one, seeded
 * traces with block structure are used, which say how the method behaves, not how a model does.
 */
import { readFileSync } from "node:fs";
import { unwrap } from "../../src/base/index.ts";
import {
  distinctNodes,
  groupByCoactivation,
  makeTrace,
  makeUpTrace,
  nodeMaxOverMean,
  remoteNodes,
  sliceTrace,
  type Trace,
  traceLoads,
} from "../../src/experts/index.ts";
import { line, machine, option, verdict } from "./shared.ts";

const nodes = Number(option("nodes") ?? 8);
const path = option("trace");
const traces: { name: string; trace: Trace }[] = path
  ? readFileSync(path, "utf8")
      .trim()
      .split("\n")
      .map((text) => JSON.parse(text) as { layer: number; experts: number; k: number; chosen: number[] })
      .map(({ layer, experts, k, chosen }) => ({
        name: `layer ${layer}`,
        trace: unwrap(makeTrace(experts, k, chosen)),
      }))
  : [
      [64, 0.4, 0.5],
      [64, 0.6, 0.5],
      [64, 0.6, 0.9],
      [384, 0.4, 0.5],
      [384, 0.6, 0.5],
      [384, 0.6, 0.9],
    ].map(([experts = 64, cohesion = 0, cv = 0]) => {
      const made = makeUpTrace({ experts, k: 6, tokens: 96_000, blocks: experts / 8, cohesion, cv, seed: 3 });
      return {
        name: `made up, ${experts} experts, cohesion ${cohesion}, CV ${cv}`,
        trace: unwrap(makeTrace(experts, made.k, made.chosen)),
      };
    });
const widths = [48, 9, 9, 9, 8, 10, 8];
console.log(`figure 6: co-activation on ${nodes} nodes, ${path ?? "seeded traces"}; ${machine()}`);
console.log(line(["trace", "in order", "grouped", "remote", "fewer", "max/mean", "s"], widths));
let least = 1;
let heaviest = 0;
for (const { name, trace } of traces) {
  const cut = Math.floor(trace.tokens * 0.75);
  const train = sliceTrace(trace, 0, cut);
  const held = sliceTrace(trace, cut, trace.tokens);
  const start = performance.now();
  const nodeOf = groupByCoactivation(train, nodes);
  const seconds = (performance.now() - start) / 1000;
  const inOrder = Int32Array.from({ length: trace.experts }, (_, e) =>
    Math.floor((e * nodes) / trace.experts),
  );
  const before = remoteNodes(held, inOrder, nodes);
  const after = remoteNodes(held, nodeOf, nodes);
  const load = nodeMaxOverMean(traceLoads(held), nodeOf, nodes);
  least = Math.min(least, 1 - after / before);
  heaviest = Math.max(heaviest, load);
  const fewer = `${((1 - after / before) * 100).toFixed(1)} %`;
  const cells = [
    distinctNodes(held, inOrder).toFixed(2),
    distinctNodes(held, nodeOf).toFixed(2),
    after.toFixed(2),
  ];
  console.log(line([name, ...cells, fewer, load.toFixed(3), seconds.toFixed(1)], widths));
}
verdict(
  `at least 20 % fewer remote nodes on held-out tokens (least ${(least * 100).toFixed(1)} %)`,
  least >= 0.2,
);
verdict(
  `busiest node at most 1.05 of the mean on held-out tokens (worst ${heaviest.toFixed(3)})`,
  heaviest <= 1.05,
);
