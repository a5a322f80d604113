/**
 * Figure 6: distinct remote nodes per token, on tokens that the plan has not seen.
 *   node bench/experts/coactivation.ts --trace recorded.ndjson [--trace another.ndjson] [--nodes 8]
 * A recorded trace (bench/experts/record.py makes one) has one line a layer:
 * {"layer":0,"experts":64,"k":6,"length":128,"held":393216,"chosen":[...]}, k expert ids a token, samples of `length` tokens. Groups and
 * copies are planned on the samples before token `held` alone. The samples from there on are of files that neither the model nor the plan
 * saw; all columns are measured on them. A node that has an expert serves its own tokens; the others take its places in turn, as the engine
 * does. Only "homes" asks what the held-out samples choose, which a pre-scan of the data tells: each sample's node, never an expert's.
 *   in order, random: experts in order, and the mean of five seeded random groupings; samples on the nodes in turn
 *   balance: our plan for load alone, with the same spare slots as "copies"
 *   grouped: by co-activation; copies: and an eighth more slots; homes: and each sample on the node that spares it most visits while the
 *   nodes stay level, equally many a node in every 64 samples
 * --limit: only what grouping could spare if it knew the held-out tokens, by the load allowed to a node: what is lost to what is unseen, and
 * what to the load.
 * Without --trace, seeded traces with a known block structure are used: how near the method comes to the blocks themselves.
 */
import { readFileSync } from "node:fs";
import { Random, unwrap } from "../../src/base/index.ts";
import {
  busiestNode,
  chooseHomes,
  distinctNodes,
  groupByCoactivation,
  homesInTurn,
  homesOfTokens,
  layerSlots,
  makeLoads,
  makeTrace,
  makeUpTrace,
  type NodeGroups,
  plainGroups,
  plan,
  planNodes,
  remoteFrom,
  sliceTrace,
  type Trace,
  traceLoads,
} from "../../src/experts/index.ts";
import { line, machine, option, shapeOf, verdict } from "./shared.ts";

const nodes = Number(option("nodes") ?? 8);
const paths = process.argv.flatMap((word, i) => (process.argv[i - 1] === "--trace" ? [word] : []));
console.log(`figure 6: co-activation on ${nodes} nodes; ${machine()}`);

type Line = { layer: number; experts: number; k: number; length: number; held: number; chosen: number[] };

function recorded(): void {
  const columns = [
    "trace",
    "in order",
    "random",
    "balance",
    "grouped",
    "copies",
    "homes",
    "fewer",
    "fewer",
    "fewer",
    "max/mean",
  ];
  const widths = [22, 9, 8, 8, 8, 8, 8, 9, 9, 9, 19];
  console.log(line(columns, widths));
  console.log(
    line(["", "", "", "", "", "", "", "grouped", "copies", "homes", "grouped/copies/homes"], widths),
  );
  const least = { grouped: 1, copies: 1, homes: 1 };
  const worst = { grouped: 0, copies: 0, homes: 0 };
  let seconds = 0;
  for (const path of paths) {
    const lines = readFileSync(path, "utf8")
      .trim()
      .split("\n")
      .map((text) => JSON.parse(text) as Line);
    const { experts, length, held } = lines[0] as Line;
    const all = lines.map((one) => unwrap(makeTrace(one.experts, one.k, one.chosen)));
    const seen = all.map((trace) => sliceTrace(trace, 0, held));
    const unseen = all.map((trace) => sliceTrace(trace, held, trace.tokens));
    const spare = Math.max(1, Math.round(experts / nodes / 8));
    const turn = homesInTurn((unseen[0] as Trace).tokens / length, nodes);
    const start = performance.now();
    const grouped = planNodes(seen, nodes, { length, homes: false }).groups;
    const from = grouped.map((groups) => groups.nodeOf);
    const copies = planNodes(seen, nodes, { length, spare, homes: false, start: from }).groups;
    const homes = planNodes(seen, nodes, { length, spare, start: from }).groups;
    seconds += (performance.now() - start) / 1000;
    const chosen = chooseHomes(
      homes.map((groups, l) => ({ trace: unseen[l] as Trace, groups })),
      length,
      64,
    );
    lines.forEach(({ layer }, l) => {
      const trace = unseen[l] as Trace;
      const away = (groups: NodeGroups, of: Int32Array) => {
        const home = homesOfTokens(trace, of, length);
        return { nodes: remoteFrom(trace, groups, home), load: busiestNode(trace, groups, home) };
      };
      const inOrder = away(plainGroups(inOrderOf(experts), nodes), turn);
      const random = [1, 2, 3, 4, 5].map(
        (seed) => away(plainGroups(shuffled(experts, seed), nodes), turn).nodes,
      );
      const balance = away(balanceOnly(seen[l] as Trace, spare), turn);
      const ways = {
        grouped: away(grouped[l] as NodeGroups, turn),
        copies: away(copies[l] as NodeGroups, turn),
        homes: away(homes[l] as NodeGroups, chosen),
      };
      const fewer = (way: keyof typeof ways) => {
        const value = 1 - ways[way].nodes / inOrder.nodes;
        least[way] = Math.min(least[way], value);
        worst[way] = Math.max(worst[way], ways[way].load);
        return `${(value * 100).toFixed(1)} %`;
      };
      const numbers = [
        inOrder.nodes,
        random.reduce((a, b) => a + b, 0) / 5,
        balance.nodes,
        ways.grouped.nodes,
        ways.copies.nodes,
        ways.homes.nodes,
      ];
      const loads = Object.values(ways).map(({ load }) => load.toFixed(3));
      const name = `${path.split("/").at(-2) ?? path} layer ${layer}`;
      console.log(
        line(
          [
            name,
            ...numbers.map((x) => x.toFixed(2)),
            fewer("grouped"),
            fewer("copies"),
            fewer("homes"),
            loads.join("/"),
          ],
          widths,
        ),
      );
    });
  }
  console.log(`planned in ${seconds.toFixed(1)} s`);
  for (const way of ["grouped", "copies", "homes"] as const) {
    verdict(
      `${way}: at least 20 % fewer remote nodes on unseen tokens (least ${(least[way] * 100).toFixed(1)} %)`,
      least[way] >= 0.2,
    );
    verdict(
      `${way}: busiest node at most 1.05 of the mean on unseen tokens (worst ${worst[way].toFixed(3)})`,
      worst[way] <= 1.05,
    );
  }
}

function limits(): void {
  console.log(line(["planned on unseen", "at most", "fewer", "max/mean", "hottest"], [22, 9, 9, 9, 9]));
  for (const path of paths) {
    for (const text of readFileSync(path, "utf8").trim().split("\n")) {
      const one = JSON.parse(text) as Line;
      const all = unwrap(makeTrace(one.experts, one.k, one.chosen));
      const unseen = sliceTrace(all, one.held, all.tokens);
      const loads = traceLoads(unseen);
      const hottest = (Math.max(...loads) * one.experts) / unseen.chosen.length;
      for (const mostLoad of [1.05, 1.2, nodes]) {
        const nodeOf = groupByCoactivation(unseen, nodes, { mostLoad, kicks: 12 });
        const fewer = 1 - distinctNodes(unseen, nodeOf) / distinctNodes(unseen, inOrderOf(one.experts));
        const load = busiestNode(unseen, plainGroups(nodeOf, nodes), homesInTurn(unseen.tokens, nodes));
        const name = `${path.split("/").at(-2) ?? path} layer ${one.layer}`;
        const cells = [mostLoad, `${(fewer * 100).toFixed(1)} %`, load.toFixed(3), hottest.toFixed(2)];
        console.log(line([name, ...cells], [22, 9, 9, 9, 9]));
      }
    }
  }
}

const inOrderOf = (experts: number) =>
  Int32Array.from({ length: experts }, (_, e) => Math.floor((e * nodes) / experts));
const shuffled = (experts: number, seed: number) =>
  Int32Array.from(new Random(seed).shuffle([...inOrderOf(experts)]));

/** What the planner does for load alone: nodes as ranks. */
function balanceOnly(trace: Trace, spare: number): NodeGroups {
  const { experts } = trace;
  const shape = shapeOf({ experts, ranks: nodes, slots: experts + spare * nodes, nodes });
  const slots = layerSlots(unwrap(plan(unwrap(makeLoads([traceLoads(trace)])), shape)).placement, 0);
  const nodeOf = new Int32Array(experts).fill(-1);
  const groups = plainGroups(nodeOf, nodes);
  slots.forEach((e, s) => {
    const node = Math.floor((s * nodes) / slots.length);
    if (nodeOf[e] === -1) nodeOf[e] = node;
    else groups.local[node * experts + e] = 1;
  });
  return groups;
}

function madeUp(): void {
  const widths = [40, 9, 9, 9, 8, 9, 9, 8];
  console.log(
    line(["seeded trace", "in order", "grouped", "blocks", "fewer", "max/mean", "blocks'", "s"], widths),
  );
  let furthest = 0;
  let heaviest = 0;
  for (const experts of [64, 384]) {
    for (const [cohesion, cv] of [
      [0.4, 0],
      [0.6, 0],
      [0.6, 0.5],
    ] as const) {
      const made = makeUpTrace({ experts, k: 6, tokens: 96_000, blocks: nodes, cohesion, cv, seed: 3 });
      const trace = unwrap(makeTrace(experts, made.k, made.chosen));
      const held = sliceTrace(trace, 72_000, trace.tokens);
      const start = performance.now();
      const nodeOf = groupByCoactivation(sliceTrace(trace, 0, 72_000), nodes, { kicks: 12 });
      const seconds = (performance.now() - start) / 1000;
      const [before, after, blocks] = [inOrderOf(experts), nodeOf, made.blockOf].map((of) =>
        distinctNodes(held, of),
      );
      const loadOf = (of: Int32Array) =>
        busiestNode(held, plainGroups(of, nodes), homesInTurn(held.tokens, nodes));
      const [load, limit] = [loadOf(nodeOf), loadOf(made.blockOf)];
      // Blocks above the load limit say nothing of what can be reached within it.
      if (limit <= 1.05) furthest = Math.max(furthest, (after as number) / (blocks as number));
      heaviest = Math.max(heaviest, load);
      const cells = [before, after, blocks].map((x) => (x as number).toFixed(2));
      const fewer = `${((1 - (after as number) / (before as number)) * 100).toFixed(1)} %`;
      console.log(
        line(
          [
            `${experts} experts, cohesion ${cohesion}, CV ${cv}`,
            ...cells,
            fewer,
            load.toFixed(3),
            limit.toFixed(3),
            seconds.toFixed(1),
          ],
          widths,
        ),
      );
    }
  }
  verdict(
    `within 2 % of the blocks that made the trace, where those keep the load limit (furthest ${furthest.toFixed(3)})`,
    furthest <= 1.02,
  );
  verdict(
    `busiest node at most 1.05 of the mean on held-out tokens (worst ${heaviest.toFixed(3)})`,
    heaviest <= 1.05,
  );
  console.log("real routing: python bench/experts/record.py OUT, then --trace OUT/trace.ndjson");
}

if (process.argv.includes("--limit")) limits();
else if (paths.length > 0) recorded();
else madeUp();
