/**
 * DeepSeek-V4-Pro on Ascend 910C, on paper: T-Rex's recipe on 256 cards (512 dies), then the best layouts for 256 and 1,024 cards.
 *   node bench/layout/headline.ts [--samples 40]
 * The device profile is fitted on one V4-Flash profile of another stack; nothing here is fitted on V4-Pro.
 */
import { formatBytes, Random } from "../../src/base/index.ts";
import type { Cluster, Efficiency } from "../../src/cluster/index.ts";
import {
  type Layout,
  layoutName,
  memoryOf,
  type PlanRequest,
  runSearch,
  TimeModel,
  type Training,
  type Traits,
} from "../../src/layout/index.ts";
import { simulate } from "../../src/layout/schedule/index.ts";
import { bodyWeights, countParameters, elements, type Weight } from "../../src/model/index.ts";
import {
  ASCEND_TRAITS,
  dies,
  FLASH_SPLIT,
  flashLayout,
  kinds,
  PRO_SPLIT,
  PRO_TRAITS,
  proLayout,
  training,
  v4,
} from "./ascend.ts";
import { machine, percent } from "./shared.ts";

const samples = Number(process.argv[process.argv.indexOf("--samples") + 1] || 0) || 40;
const seconds = (x: number) => x.toFixed(1).padStart(6);
console.log(machine());

const flash = v4("Flash");
{
  const time = new TimeModel(flash, dies(128), training(1024), ASCEND_TRAITS);
  const layout = flashLayout(flash);
  const k = kinds(time.stages.stageTerms(layout), [0], 8);
  const step = time.step(layout, true);
  console.log("\nV4-Flash, 128 dies, FSDP128 EP128 (the profile that fitted attention, vector and fabric)");
  const row = (name: string, ours: number, published: number) =>
    console.log(
      `  ${name.padEnd(10)} ${seconds(ours)} s   published ${seconds(published)} s   ${percent(ours / published - 1, 1)}`,
    );
  row("cube", (k["matrix"] ?? 0) + (k["grouped"] ?? 0), FLASH_SPLIT.cube);
  row("attention", k["attention"] ?? 0, FLASH_SPLIT.attention);
  row("vector", k["vector"] ?? 0, FLASH_SPLIT.vector);
  row("expert", k["expert"] ?? 0, FLASH_SPLIT.expert);
  row("step", step.seconds, FLASH_SPLIT.step);
}

const pro = v4("Pro");
console.log(`\nV4-Pro parameters with MTP: ${countParameters(pro).total.toLocaleString("en")}`);
const recipe = proLayout();
const GB = (bytes: number) => (bytes / 1e9).toFixed(1);
for (const swap of [0, 1]) {
  const layout = { ...recipe, offload: { optimizer: swap, activations: [] } };
  const memory = memoryOf(pro, layout, training(1024), { engine: "megatron" });
  const states = memory.classes.map(
    (c) => c.memory.bytes.weights + c.memory.bytes.gradients + c.memory.bytes.optimizer,
  );
  const host = memory.classes.map((c) => c.memory.host);
  console.log(
    `  states ${swap ? "with" : "without"} swap, GB a die: fullest rank ${GB(Math.max(...states))}, ranks with 8 layers ${GB(states[1] as number)} (derived elsewhere: ${swap ? 27.8 : 66.4})` +
      (swap ? `; host ${GB(Math.max(...host) * 16)} GB a node (about 610)` : ""),
  );
}
{
  // The reading this is compared with counts attention and shared experts, both cut by tp, and routed experts; nothing else.
  const counted = (weight: Weight) => weight.module === "attention" || weight.module === "sharedExperts";
  const layers = [1, 9].flatMap((stage) => recipe.stages[stage] as readonly number[]);
  let parameters = 0;
  for (const layer of layers) {
    for (const weight of bodyWeights((pro.layers[layer] as (typeof pro.layers)[number]).body)) {
      if (weight.cut.kind === "expert") parameters += elements(weight) / recipe.ep;
      else if (counted(weight)) parameters += elements(weight) / recipe.tp;
    }
  }
  console.log(
    `  the derived figure leaves out compressors, indexers, router and hyper-connections, and cuts latents by tp: so counted, 8 layers with swap are ${GB(6 * parameters)} GB`,
  );
}

/**
 * The recipe's step with every meeting of ranks waiting `wait` seconds for its last member; what the profiled rank (7 layers) spends, by
 * the names that its profile has. Before tokens are dispatched the ranks of the experts gather how many will come, so in a forward
 * pass (and its repeat) the waiting is the gather's and not the all-to-all's behind it (Megatron-LM, `MoEAlltoAllTokenDispatcher`).
 */
function recipeStep(wait: number, recipe = proLayout()) {
  const cluster = { ...dies(512), collectiveSeconds: wait };
  const time = new TimeModel(pro, cluster, training(1024), PRO_TRAITS);
  const step = time.step(recipe, true);
  const k = kinds(time.stages.stageTerms(recipe), PROFILED, step.microBatches);
  const run = simulate(time.order(recipe.schedule, recipe.pp, recipe.vpp, step.microBatches), step.costs);
  const compute = ["matrix", "grouped", "attention", "vector"].reduce((sum, name) => sum + (k[name] ?? 0), 0);
  const pipeline = (run.sending[0] as number) + (run.idle[0] as number);
  const layers = PROFILED.reduce((sum, stage) => sum + (recipe.stages[stage] as readonly number[]).length, 0);
  const gathered = 2 * layers * step.microBatches * (wait - base);
  const expert = (k["expert"] ?? 0) - gathered;
  const tensor = (k["tensor"] ?? 0) + gathered;
  const { data, optimizer, swap } = step.breakdown;
  const kernels = compute + expert + tensor + data + pipeline;
  return {
    step,
    compute,
    expert,
    gathered,
    tensorAndData: tensor + data,
    pipeline,
    kernels,
    end: optimizer + swap,
  };
}
const PROFILED = [0, 8];
const base = dies(512).collectiveSeconds;
const clean = recipeStep(base);
let [short, long] = [base, 0.02];
for (let i = 0; i < 30; i++) {
  const middle = (short + long) / 2;
  if (recipeStep(middle).expert < PRO_SPLIT.expert) short = middle;
  else long = middle;
}
const waiting = recipeStep(short);
console.log(
  `\nThe recipe's step on 512 dies (${layoutName(recipe, 1)}), as a profiler of the rank with 7 layers counts it: exchange lasts until its last member comes`,
);
console.log(
  `                     bytes and hops   + ${(1000 * short).toFixed(2)} ms of waiting a meeting   published`,
);
const line = (name: string, of: (r: typeof clean) => number, published?: number, note = "") =>
  console.log(
    `  ${name.padEnd(16)} ${seconds(of(clean))} s         ${seconds(of(waiting))} s                       ${published === undefined ? "       -" : `${seconds(published)} s`}  ${note}`,
  );
line("compute", (r) => r.compute, PRO_SPLIT.compute, "not fitted");
line("all-to-all", (r) => r.expert, PRO_SPLIT.expert, "gives the waiting");
line("tensor and data", (r) => r.tensorAndData, PRO_SPLIT.tensorAndData, "not fitted");
line(
  "send and receive",
  (r) => r.pipeline,
  PRO_SPLIT.pipeline,
  "not fitted; bubble and uneven stages included",
);
line("sum of kernels", (r) => r.kernels, PRO_SPLIT.step, "the ladder goes on 35.3, 33.8, 26.6");
line("optimizer, swap", (r) => r.end, undefined, "copies to and from the host are no kernels of the table");
line("step", (r) => r.step.seconds);
const tokens = 1024 * 4096;
const perToken = waiting.step.mfu.flopsPerToken;
const stepAt = (flops: number) => ((flops * tokens) / (0.1167 * 353.9e12 * 512)).toFixed(1);
console.log(
  `  Model MFU ${percent(waiting.step.mfu.model, 1).slice(1)}. 11.67 % of the peak is a step of ${stepAt(perToken)} s at ${(perToken / 1e9).toFixed(0)} GFLOP a token, ${stepAt(376e9)} s at the 376 of the framework's own formula (64 slots, dense pairs), ${stepAt(400e9)} s at the 400 that 27 s and 34.9 % imply.`,
);
console.log(
  `  Tensor and data: ${(clean.tensorAndData + waiting.gathered).toFixed(1)} s if the two dies of a card never wait for each other, ${waiting.tensorAndData.toFixed(1)} s if they wait as long as the 64 members of an expert group. Gradients and weights over data ranks, which nothing hides: ${waiting.step.breakdown.data.toFixed(2)} s of it.`,
);
const halved = recipeStep(short, { ...proLayout(), ep: 32, etp: 2 });
const reduced = recipeStep(short, { ...proLayout(), sequenceParallel: false });
console.log(
  `  Other layouts the profiled start may have had: experts cut by tensor parallelism too (EP32 ETP2), tensor, data and all-to-all together ${(halved.tensorAndData + halved.expert).toFixed(1)} s instead of ${(waiting.tensorAndData + waiting.expert).toFixed(1)}; all-reduce instead of gather and scatter, tensor and data ${reduced.tensorAndData.toFixed(1)} s.`,
);
const explained = waiting.expert + waiting.tensorAndData + waiting.pipeline;
console.log(
  `  Explained: ${explained.toFixed(1)} of ${(PRO_SPLIT.expert + PRO_SPLIT.tensorAndData + PRO_SPLIT.pipeline).toFixed(1)} s of exchange, ${waiting.kernels.toFixed(1)} of ${PRO_SPLIT.step} s of kernels.`,
);

const request = (
  count: number,
  batch: number,
  traits: Traits,
  cluster: Cluster = dies(count),
): PlanRequest => ({
  model: pro,
  cluster,
  training: training(batch),
  constraints: { engine: "megatron" },
  traits,
});
const traits: Traits = { ...ASCEND_TRAITS, overlapPipeline: true };
const vary = (cluster: Cluster, random: Random): Cluster => {
  const f = (spread: number) => Math.exp(spread * random.normal());
  return {
    ...cluster,
    groups: cluster.groups.map((group) => {
      const e = group.device.efficiency;
      const efficiency: Efficiency = {
        ...e,
        gemm: Math.min(0.9, e.gemm * f(0.1)),
        groupedGemm: Math.min(0.9, e.groupedGemm * f(0.15)),
        attentionForward: e.attentionForward * f(0.2),
        attentionBackward: e.attentionBackward * f(0.2),
        unfused: Math.max(1, e.unfused * f(0.2)),
      };
      const hostBandwidth = group.device.hostBandwidth * f(0.3);
      return {
        ...group,
        device: { ...group.device, efficiency, hostBandwidth },
        links: group.links.map((link) => ({ ...link, bandwidth: link.bandwidth * f(0.25) })),
      };
    }),
  };
};
const quantile = (sorted: readonly number[], q: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] as number;

for (const [count, batch] of [
  [512, 1024],
  [2048, 4096],
] as const) {
  for (const [what, wait] of [
    ["collectives cost bytes and hops", base],
    [`every meeting waits ${(1000 * short).toFixed(2)} ms, as in the profile`, short],
  ] as const) {
    compareWithRecipe(count, batch, what, wait);
  }
}

function compareWithRecipe(count: number, batch: number, what: string, wait: number): void {
  const own = { ...dies(count), collectiveSeconds: wait };
  const scaled: Layout = { ...recipe, dpShard: recipe.dpShard * (count / 512) };
  const t: Training = training(batch);
  const of = (cluster: Cluster, layout: Layout, chosen: Training) =>
    new TimeModel(pro, cluster, chosen, traits).step(layout, true);
  const published = of(own, scaled, t);
  const result = runSearch(request(count, batch, traits, own));
  const best = result.found[0];
  if (!best) throw new Error("nothing fits");
  const gain = published.seconds / best.time.seconds;
  const random = new Random(17);
  const gains: number[] = [];
  const steps: number[] = [];
  for (let i = 0; i < samples; i++) {
    const cluster = vary(own, random);
    const mine = of(cluster, best.layout, best.training).seconds;
    gains.push(of(cluster, scaled, t).seconds / mine);
    steps.push(mine);
  }
  gains.sort((a, b) => a - b);
  steps.sort((a, b) => a - b);
  const share = (x: number) => percent(x, 1).slice(1);
  const { mfu } = best.time;
  console.log(
    `\n${count / 2} cards (${count} dies), global batch ${batch}, ${what}: ${result.considered} layouts, ${result.simulated} simulated`,
  );
  console.log(
    `  recipe ${layoutName(scaled, 1)}: ${seconds(published.seconds)} s, MFU ${share(published.mfu.model)}`,
  );
  console.log(
    `  best   ${layoutName(best.layout, best.training.microBatch)}: ${seconds(best.time.seconds)} s, ${formatBytes(best.free)} free`,
  );
  console.log(
    `  MFU model ${share(mfu.model)}, full attention ${share(mfu.fullAttention)}, 6N ${share(mfu.parametersOnly)}, with recompute ${share(mfu.withRecompute)}; ${Math.round(best.time.tokensPerSecondPerDevice)} tokens/s a die`,
  );
  console.log(
    `  gain over the recipe ${gain.toFixed(2)}x; with efficiencies (10-20 %), links (25 %) and host link (30 %) varied ${samples} times: ` +
      `median ${quantile(gains, 0.5).toFixed(2)}x, 90 % between ${quantile(gains, 0.05).toFixed(2)}x and ${quantile(gains, 0.95).toFixed(2)}x; step ${quantile(steps, 0.05).toFixed(1)}-${quantile(steps, 0.95).toFixed(1)} s`,
  );
  for (const other of result.found.slice(1, 4)) {
    console.log(
      `    then ${layoutName(other.layout, other.training.microBatch)}: ${seconds(other.time.seconds)} s`,
    );
  }
  const terms = Object.entries(best.time.breakdown).filter(([, v]) => v > 0.005 * best.time.seconds);
  console.log(`  ${terms.map(([name, v]) => `${name} ${v.toFixed(2)} s`).join(", ")}`);
}
