/** What the expert benchmarks share: the machine's name, the loads of the figures, and timing by the processor's clock. */
import { cpus, loadavg } from "node:os";
import { makeShape, makeUpLoads, type ShapeRequest, type Skew } from "../../src/experts/index.ts";
import { unwrap } from "../../src/base/index.ts";

export const BIG: ShapeRequest = { experts: 384, ranks: 64, slots: 448, nodes: 8 };
export const LAYERS = 61;
export const SKEWS: readonly Skew[] = [
  ...[0.1, 0.3, 0.5, 0.7, 0.9, 1].map((cv) => ({ kind: "lognormal" as const, cv })),
  ...[0.5, 0.7, 0.9, 1, 1.1, 1.2].map((s) => ({ kind: "zipf" as const, s })),
];

export const nameOf = (skew: Skew): string =>
  skew.kind === "lognormal" ? `log-normal CV ${skew.cv}` : `Zipf ${skew.s}`;

export const shapeOf = (request: ShapeRequest) => unwrap(makeShape(request));
export const loadsOf = (skew: Skew, seed = 7) => makeUpLoads(LAYERS, BIG.experts, skew, seed);

/** Processor, cores and load average: a figure without them says little. */
export function machine(): string {
  const [cpu] = cpus();
  return `${cpu?.model ?? "unknown processor"}, ${cpus().length} cores, load average ${loadavg()[0]?.toFixed(1)}, Node ${process.version}`;
}

/**
 * Milliseconds of `work`, of the processor and of the wall, median of `rounds` after two warm-up rounds. Processor time counts this
 * process only, so it says what one thread needs even where other work shares the cores.
 */
export function timed<T>(rounds: number, work: () => T): { cpuMs: number; wallMs: number; value: T } {
  let value = work();
  work();
  const cpu: number[] = [];
  const wall: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const start = process.cpuUsage();
    const clock = performance.now();
    value = work();
    wall.push(performance.now() - clock);
    const used = process.cpuUsage(start);
    cpu.push((used.user + used.system) / 1000);
  }
  return { cpuMs: median(cpu), wallMs: median(wall), value };
}

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

/** A row of numbers or words in columns of equal width. */
export const line = (cells: readonly (string | number)[], widths: readonly number[]): string =>
  cells.map((cell, i) => String(cell).padStart(widths[i] ?? 10)).join(" ");

/** Value of `--name VALUE` on the command line. */
export function option(name: string): string | undefined {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : process.argv[at + 1];
}

export function verdict(name: string, good: boolean): void {
  console.log(`${good ? "reached" : "MISSED "}  ${name}`);
  if (!good) process.exitCode = 1;
}
