/** Training FLOPs per token against the ratio of published TFLOP/s and tokens/s. */
import { flopsPerToken } from "../../src/model/index.ts";
import { load, ROWS } from "./published-models.ts";
import { percent } from "./shared.ts";

let worst = 0;
for (const { name, source, flops } of ROWS) {
  if (!flops) continue;
  const model = load(source);
  const mine = flopsPerToken(model, flops.sequence);
  const error = mine.total / 1e9 / flops.giga - 1;
  worst = Math.max(worst, Math.abs(error));
  const share = (x: number) => `${((100 * x) / mine.total).toFixed(1)} %`;
  console.log(
    `${name.padEnd(20)} ${flops.sequence} tokens: ${(mine.total / 1e9).toFixed(1)} GFLOP, published ${flops.giga} (${percent(error)}); attention ${share(mine.attention)}, indexer ${share(mine.indexer)}`,
  );
}
console.log(`\nworst error ${percent(worst)}`);
if (worst > 0.011) process.exit(1);
