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
import { countParameters } from "../../src/model/index.ts";
import {
  ASCEND_TRAITS,
  dies,
  FLASH_SPLIT,
  flashLayout,
  kinds,
  PRO_SPLIT,
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
for (const swap of [0, 1]) {
  const layout = { ...recipe, offload: { optimizer: swap, activations: [] } };
  const memory = memoryOf(pro, layout, training(1024), { engine: "megatron" });
  const states = memory.classes.map(
    (c) => c.memory.bytes.weights + c.memory.bytes.gradients + c.memory.bytes.optimizer,
  );
  const host = memory.classes.map((c) => c.memory.host);
  const most = Math.max(...states);
  console.log(
    `  states ${swap ? "with" : "without"} swap: ${(most / 1e9).toFixed(1)} GB a die (published reading: ${swap ? 27.8 : 66.4}), mean ${(states.reduce((a, b) => a + b) / states.length / 1e9).toFixed(1)}` +
      (swap ? `; host ${((Math.max(...host) * 16) / 1e9).toFixed(0)} GB a node (about 610)` : ""),
  );
}
const time = new TimeModel(pro, dies(512), training(1024), ASCEND_TRAITS);
const step = time.step(recipe, true);
const k = kinds(time.stages.stageTerms(recipe), [0, 8], 32);
const compute = ["matrix", "grouped", "attention", "vector"].reduce((sum, name) => sum + (k[name] ?? 0), 0);
console.log(
  `\nThe recipe's step on 512 dies (${layoutName(recipe, 1)}); compute and exchange of a rank with 7 layers, as the published profile`,
);
console.log(
  `  compute        ${seconds(compute)} s   published ${seconds(PRO_SPLIT.compute)} s   ${percent(compute / PRO_SPLIT.compute - 1, 1)}  (not fitted)`,
);
console.log(
  `  expert         ${seconds(k["expert"] ?? 0)} s   published ${seconds(PRO_SPLIT.expert)} s, waiting included`,
);
console.log(
  `  tensor + data  ${seconds((k["tensor"] ?? 0) + step.breakdown.data)} s   published ${seconds(PRO_SPLIT.tensorAndData)} s, waiting included`,
);
console.log(
  `  pipe + bubble  ${seconds(step.breakdown.pipeline + step.breakdown.bubble)} s   published ${seconds(PRO_SPLIT.pipeline)} s, waiting included`,
);
console.log(
  `  step           ${seconds(step.seconds)} s   published ladder: 78.1 untuned, 35.3 parallelism, 33.8 host, 26.6 kernels`,
);
const calls = 8 * 32 * 18;
console.log(
  `  Bytes and hops explain ${seconds(step.seconds)} s of the untuned 78.1 s. The rest is waiting: spread over the about ${calls} tensor-parallel` +
    ` collectives of a step it is ${((1000 * (PRO_SPLIT.tensorAndData - (k["tensor"] ?? 0))) / calls).toFixed(1)} ms each, which fits the team's own reading (bound by scheduling, not bandwidth).`,
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
  const base: Layout = { ...recipe, dpShard: recipe.dpShard * (count / 512) };
  const t: Training = training(batch);
  const of = (cluster: Cluster, layout: Layout, chosen: Training) =>
    new TimeModel(pro, cluster, chosen, traits).step(layout, true);
  const published = of(dies(count), base, t);
  const result = runSearch(request(count, batch, traits));
  const best = result.found[0];
  if (!best) throw new Error("nothing fits");
  const gain = published.seconds / best.time.seconds;
  const random = new Random(17);
  const gains: number[] = [];
  const steps: number[] = [];
  for (let i = 0; i < samples; i++) {
    const cluster = vary(dies(count), random);
    const mine = of(cluster, best.layout, best.training).seconds;
    gains.push(of(cluster, base, t).seconds / mine);
    steps.push(mine);
  }
  gains.sort((a, b) => a - b);
  steps.sort((a, b) => a - b);
  const { mfu } = best.time;
  console.log(
    `\n${count / 2} cards (${count} dies), global batch ${batch}: ${result.considered} layouts, ${result.simulated} simulated`,
  );
  console.log(
    `  recipe ${layoutName(base, 1)}: ${seconds(published.seconds)} s, MFU ${percent(published.mfu.model, 1).slice(1)}`,
  );
  console.log(
    `  best   ${layoutName(best.layout, best.training.microBatch)}: ${seconds(best.time.seconds)} s, ${formatBytes(best.free)} free`,
  );
  console.log(
    `  MFU model ${percent(mfu.model, 1).slice(1)}, full attention ${percent(mfu.fullAttention, 1).slice(1)}, 6N ${percent(mfu.parametersOnly, 1).slice(1)}, with recompute ${percent(mfu.withRecompute, 1).slice(1)}; ${Math.round(best.time.tokensPerSecondPerDevice)} tokens/s a die`,
  );
  console.log(
    `  gain over the recipe ${gain.toFixed(2)}x; with efficiencies (10-20 %), links (25 %) and host link (30 %) varied ${samples} times: ` +
      `median ${quantile(gains, 0.5).toFixed(2)}x, 90 % between ${quantile(gains, 0.05).toFixed(2)}x and ${quantile(gains, 0.95).toFixed(2)}x; step ${quantile(steps, 0.05).toFixed(1)}-${quantile(steps, 0.95).toFixed(1)} s`,
  );
  for (const other of result.found.slice(1, 5)) {
    console.log(
      `    then ${layoutName(other.layout, other.training.microBatch)}: ${seconds(other.time.seconds)} s`,
    );
  }
  const terms = Object.entries(best.time.breakdown).filter(([, v]) => v > 0.005 * best.time.seconds);
  console.log(`  ${terms.map(([name, v]) => `${name} ${v.toFixed(2)} s`).join(", ")}`);
}
