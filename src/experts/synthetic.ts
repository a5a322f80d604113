import { Random } from "../base/index.ts";
import type { Loads } from "./loads.ts";

/** How skewed made-up loads are: log-normal by coefficient of variation, or Zipf by exponent. */
export type Skew =
  | { readonly kind: "lognormal"; readonly cv: number }
  | { readonly kind: "zipf"; readonly s: number };

/** Seeded loads, whole tokens, `tokens` a layer in the mean. Log-normal: sigma = sqrt(ln(1 + cv^2)). Zipf ranks are shuffled. */
export function makeUpLoads(
  layers: number,
  experts: number,
  skew: Skew,
  seed: number,
  tokens = 1_572_864,
): Loads {
  const random = new Random(seed);
  const values = new Float64Array(layers * experts);
  for (let l = 0; l < layers; l++) {
    const row =
      skew.kind === "lognormal" ? logNormal(experts, skew.cv, random) : zipf(experts, skew.s, random);
    const all = row.reduce((sum, value) => sum + value, 0);
    for (let e = 0; e < experts; e++)
      values[l * experts + e] = Math.round(((row[e] as number) / all) * tokens);
  }
  return { ids: Array.from({ length: layers }, (_, l) => l), layers, experts, values };
}

function logNormal(experts: number, cv: number, random: Random): number[] {
  const sigma = Math.sqrt(Math.log(1 + cv * cv));
  return Array.from({ length: experts }, () => Math.exp(sigma * random.normal()));
}

function zipf(experts: number, s: number, random: Random): number[] {
  return random.shuffle(Array.from({ length: experts }, (_, i) => (i + 1) ** -s));
}

/** Loads after a relative change: each load times (1 + change x normal), not below zero. */
export function drift(loads: Loads, change: number, seed: number): Loads {
  const random = new Random(seed);
  return {
    ...loads,
    values: loads.values.map((value) => Math.max(0, Math.round(value * (1 + change * random.normal())))),
  };
}
