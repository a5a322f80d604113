/**
 * How fast the planner is, on one thread.
 *   node bench/layout/speed.ts
 * Goals: one layout over 1,024 ranks (memory of every rank and step time) in 5 ms; 20,000 layouts filtered by memory and the best 200
 * simulated within 1 s. A published peer needs 56.7 s for 169 layouts of DeepSeek-V3 on 2,048 cards on a 2-core machine.
 */
import { presetCluster } from "../../src/cluster/index.ts";
import {
  fallbacks,
  plan,
  predictMemory,
  runSearch,
  stageHomes,
  TimeModel,
  traitsFor,
} from "../../src/layout/index.ts";
import { v4 } from "./ascend.ts";
import { training } from "./ascend.ts";
import { machine } from "./shared.ts";

console.log(machine());
const model = v4("Pro");
const cluster = presetCluster("h200", 1024);
if (!cluster) throw new Error("no preset");
const request = {
  model,
  cluster,
  training: training(4096),
  constraints: { engine: "megatron" as const, microBatch: [1, 2, 4, 8] },
  simulate: 200,
};
const timed = <T>(run: () => T): [T, number] => {
  const began = performance.now();
  const value = run();
  return [value, performance.now() - began];
};
// CPU time is printed beside wall time: on a shared machine only the former is the planner's own.
const cpu = () => process.cpuUsage().user / 1000 + process.cpuUsage().system / 1000;

const first = plan(request);
if (!first.ok) throw first.error;
const { layout, training: chosen } = first.value;
const time = new TimeModel(model, cluster, chosen, traitsFor(chosen));
const homes = stageHomes(cluster, layout);
const one: number[] = [];
for (let i = 0; i < 50; i++) {
  const [, ms] = timed(() => {
    time.step(layout);
    predictMemory(model, layout, chosen, "megatron", homes);
  });
  one.push(ms);
}
one.sort((a, b) => a - b);
console.log(`one layout, 1,024 ranks (${first.value.name}): median ${one[25]?.toFixed(2)} ms, goal 5 ms`);

for (let round = 0; round < 3; round++) {
  const before = cpu();
  const [result, ms] = timed(() => runSearch(request, false));
  const used = cpu() - before;
  console.log(
    `search: ${result.considered} layouts filtered, ${result.simulated} simulated: ${ms.toFixed(0)} ms wall, ${used.toFixed(0)} ms CPU; goal 20,000 and 200 in 1,000 ms`,
  );
}

// What a person waits for: the plan of the question, and the plans for one to eight lost nodes beside it.
const dies = presetCluster("910c", 512);
if (!dies) throw new Error("no preset");
const asked = { ...request, cluster: dies, training: { ...training(4096), globalBatch: 1024 } };
for (let round = 0; round < 3; round++) {
  const before = cpu();
  const [made, ms] = timed(() => {
    const full = plan(asked);
    if (!full.ok) throw full.error;
    return fallbacks(asked, full.value, 8);
  });
  const used = cpu() - before;
  console.log(
    `plan on 512 dies with ${made.length} fall-back plans: ${ms.toFixed(0)} ms wall, ${used.toFixed(0)} ms CPU; goal 1,000 ms`,
  );
}
