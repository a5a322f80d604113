/**
 * Memory predicted against measured, every rank of every case.
 *
 *   node bench/layout/memory.ts [--data path/to/simumax_cases.csv] [--verbose]
 */
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { MEGATRON_2025, MEGATRON_2026, memoryOf, type RankClass } from "../../src/layout/memory/index.ts";
import { type MemoryCase, memoryCases } from "./memory-cases.ts";
import { percent, sharedFile } from "./shared.ts";

const { values } = parseArgs({ options: { data: { type: "string" }, verbose: { type: "boolean" } } });
const path = values.data ?? sharedFile("simumax_cases.csv");
if (!existsSync(path)) {
  console.error(`no such file: ${path}`);
  process.exit(3);
}

const MiB = 2 ** 20;
const errors = new Map<string, number[]>();
const note = (group: string, error: number) => errors.set(group, [...(errors.get(group) ?? []), error]);
const seen = new Set<string>();

for (const c of memoryCases(path)) compare(c);

function compare(c: MemoryCase): void {
  const b200 = c.set.startsWith("B200");
  const report = memoryOf(c.model, c.layout, c.training, {
    engine: "megatron",
    stack: b200 ? MEGATRON_2026 : MEGATRON_2025,
  });
  const device = b200 ? "B200" : "A100";
  const of = (rank: number) => (report.classes[report.classOf[rank] as number] as RankClass).memory;
  const worst = (report.classes[report.worst] as RankClass).memory;
  const predicted = c.ranks.length > 1 ? c.ranks.map((_, rank) => of(rank).allocated) : [worst.allocated];
  predicted.forEach((bytes, i) => note(`${device} allocated`, bytes / (c.ranks[i] as number) - 1));
  if (c.reserved !== undefined) note(`${device} reserved`, worst.reserved / c.reserved - 1);
  const { pp, tp, cp, ep } = c.layout;
  const key = `${device}/${c.model.hidden}/${c.model.layers.length}/${pp}/${tp}/${cp}/${ep}/${c.training.sequence}`;
  if (!values.verbose && seen.has(key)) return;
  seen.add(key);
  const per = c.ranks.length / (c.ranks.length > 1 ? pp : 1);
  for (let i = 0; i < c.ranks.length; i += per) {
    const [real, mine] = [c.ranks[i] as number, predicted[i] as number];
    const name = c.name.replace(/_?mbc\d+_cef$/, "").padEnd(48);
    const parts = Object.entries((c.ranks.length > 1 ? of(i) : worst).bytes)
      .filter(([, bytes]) => bytes > 0)
      .map(([category, bytes]) => `${category} ${(bytes / MiB).toFixed(0)}`)
      .join(", ");
    console.log(
      `${device} ${name} rank ${i}: real ${(real / MiB).toFixed(1)} MiB, predicted ${(mine / MiB).toFixed(1)} (${percent(mine / real - 1, 3)})`,
    );
    if (values.verbose) console.log(`     ${parts}`);
  }
}

console.log();
for (const [group, list] of errors) {
  const mean = list.reduce((sum, e) => sum + Math.abs(e), 0) / list.length;
  const worst = list.reduce((most, e) => (Math.abs(e) > Math.abs(most) ? e : most), 0);
  const bias = list.reduce((sum, e) => sum + e, 0) / list.length;
  console.log(
    `${group.padEnd(16)} ${String(list.length).padStart(4)} values: mean absolute ${percent(mean, 3)}, worst ${percent(worst, 3)}, bias ${percent(bias, 3)}`,
  );
}
