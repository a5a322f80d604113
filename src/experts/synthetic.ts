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

export type TraceRecipe = {
  readonly experts: number;
  readonly k: number;
  readonly tokens: number;
  /** Blocks of experts that like to be chosen together; they are scattered over the expert ids. */
  readonly blocks: number;
  /** Chance that a choice stays in the token's block: 0 no structure, 1 all. */
  readonly cohesion: number;
  /** Skew of the experts' popularity (log-normal). */
  readonly cv: number;
  readonly seed: number;
};

/** Seeded choices of tokens with block structure: a token draws a block by popularity, then its k different experts. */
export function makeUpTrace(recipe: TraceRecipe): {
  chosen: Int32Array;
  k: number;
  experts: number;
  blockOf: Int32Array;
} {
  const { experts, k, tokens, blocks } = recipe;
  const random = new Random(recipe.seed);
  const ids = random.shuffle(Array.from({ length: experts }, (_, e) => e));
  const weight = logNormal(experts, recipe.cv, random);
  const size = experts / blocks;
  const members = Array.from({ length: blocks }, (_, b) =>
    ids.slice(Math.floor(b * size), Math.floor((b + 1) * size)),
  );
  const drawFrom = (items: readonly number[]) => {
    const sums: number[] = [];
    let all = 0;
    for (const e of items) sums.push((all += weight[e] as number));
    return () => {
      const at = random.next() * all;
      let low = 0;
      for (let high = sums.length - 1; low < high; ) {
        const middle = (low + high) >> 1;
        if ((sums[middle] as number) > at) high = middle;
        else low = middle + 1;
      }
      return items[low] as number;
    };
  };
  const any = drawFrom(ids);
  const inBlock = members.map(drawFrom);
  const blockOf = new Int32Array(experts);
  members.forEach((block, b) => {
    for (const e of block) blockOf[e] = b;
  });
  const chosen = new Int32Array(tokens * k);
  for (let t = 0; t < tokens; t++) {
    const draw = inBlock[blockOf[any()] as number] as () => number;
    const own = new Set<number>();
    for (let tries = 0; own.size < k; tries++)
      own.add(random.next() < recipe.cohesion && tries < 200 ? draw() : any());
    chosen.set([...own], t * k);
  }
  return { chosen, k, experts, blockOf };
}

export type HistoryRecipe = {
  readonly layers: number;
  readonly experts: number;
  readonly steps: number;
  readonly tokens: number;
  readonly skew: Skew;
  /** Lag-1 correlation of the slowly changing part (AR(1) in the logarithm), and its size. */
  readonly keep: number;
  readonly wander: number;
  /** Over-dispersion of a step's counts: 1 is independent tokens. */
  readonly overDispersion: number;
  readonly seed: number;
};

/** Seeded loads of consecutive steps: persistent skew x AR(1) drift, with counting noise of the given over-dispersion. */
export function makeUpHistory(recipe: HistoryRecipe): Loads[] {
  const random = new Random(recipe.seed);
  const base = makeUpLoads(recipe.layers, recipe.experts, recipe.skew, random.uint32(), recipe.tokens);
  const state = Float64Array.from(base.values, () => recipe.wander * random.normal());
  const step = recipe.wander * Math.sqrt(1 - recipe.keep ** 2);
  return Array.from({ length: recipe.steps }, () => {
    const values = base.values.map((value, i) => {
      state[i] = recipe.keep * (state[i] as number) + step * random.normal();
      const mean = value * Math.exp(state[i] as number);
      return Math.max(0, Math.round(mean + Math.sqrt(mean * recipe.overDispersion) * random.normal()));
    });
    return { ...base, values };
  });
}
