import type { Text } from "../../base/index.ts";
import { type Layout, microBatches, type Recompute, SINGLE, type Training } from "../layout.ts";

/** What an export carries: everything a training stack must be told to run the plan. */
export type Settings = {
  readonly layout: Layout;
  readonly training: Training;
  /** Format of matrix products where it is not the one that the weights' format implies. */
  readonly products?: "fp8" | "fp4";
  /** A dispatcher that sends a token once to a rank and a node (DeepEP and its like); absent: plain all-to-all. */
  readonly dispatcher?: "flex";
};

/** What a stack's settings leave to the launch: device count and model depth. */
export type ReadContext = { readonly world: number; readonly layers: number };

export type Value = string | number | boolean | readonly (string | number)[] | readonly (readonly string[])[];
/** Settings as dotted keys of the target, e.g. `parallelism.tensor_parallel_degree`. */
export type Keys = Record<string, Value>;

/** Thrown by writers and readers; the door turns it into a coded error. */
export class Cannot extends Error {
  readonly text: Text;
  constructor(en: string, zh: string) {
    super(en);
    this.text = { en, zh };
  }
}
export function need(ok: boolean, en: string, zh: string): void {
  if (!ok) throw new Cannot(en, zh);
}

/** Fields without meaning in a layout take their neutral value, so that equal plans compare equal. */
export function canonical({ layout, training, products, dispatcher }: Settings): Settings {
  const { stageRecompute, slotsPerRank, ...rest } = layout;
  const same = stageRecompute?.every((r) => JSON.stringify(r) === JSON.stringify(stageRecompute[0]));
  return {
    layout: {
      ...rest,
      sequenceParallel: layout.tp > 1 && layout.sequenceParallel,
      contextParallel: layout.cp > 1 ? layout.contextParallel : SINGLE.contextParallel,
      reshardAfterForward: layout.zero === 3 ? layout.reshardAfterForward : SINGLE.reshardAfterForward,
      recompute: tidy(same && stageRecompute?.[0] ? stageRecompute[0] : layout.recompute),
      offload: { optimizer: layout.offload.optimizer, activations: [...layout.offload.activations].sort() },
      ...(stageRecompute && !same ? { stageRecompute } : {}),
      ...(slotsPerRank === undefined ? {} : { slotsPerRank }),
    },
    training,
    ...(products ? { products } : {}),
    ...(dispatcher && layout.ep > 1 ? { dispatcher } : {}),
  };
}

const tidy = (r: Recompute): Recompute =>
  r.kind === "selective"
    ? r.regions.length === 0
      ? { kind: "none" }
      : { kind: "selective", regions: [...r.regions].sort() }
    : r;

/** Sequences a rank takes between two optimizer steps. */
export const localBatch = ({ layout, training }: Settings): number =>
  microBatches(layout, training) * training.microBatch;

/** Typed access to dotted keys while reading back. */
export class KeyReader {
  readonly #keys: Readonly<Keys>;
  constructor(keys: Readonly<Keys>) {
    this.#keys = keys;
  }
  has(key: string): boolean {
    return this.#keys[key] !== undefined;
  }
  number(key: string, fallback?: number): number {
    const value = this.#keys[key];
    if (value === undefined && fallback !== undefined) return fallback;
    const number = Number(value);
    if (value === undefined || Array.isArray(value) || !Number.isFinite(number)) {
      throw value === undefined
        ? new Cannot(`${key} is missing`, `缺少 ${key}`)
        : new Cannot(`${key} is not a number`, `${key} 不是數`);
    }
    return number;
  }
  text(key: string, fallback?: string): string {
    const value = this.#keys[key];
    if (value === undefined && fallback !== undefined) return fallback;
    if (value === undefined || Array.isArray(value)) throw new Cannot(`${key} is missing`, `缺少 ${key}`);
    return String(value);
  }
  flag(key: string): boolean {
    const value = this.#keys[key];
    return value === true || value === "true";
  }
  list(key: string): readonly (string | number | readonly string[])[] {
    const value = this.#keys[key];
    if (!Array.isArray(value)) throw new Cannot(`${key} is no list`, `${key} 不是清單`);
    return value as readonly (string | number | readonly string[])[];
  }
}

/** Exact lookup both ways; unknown names are refused with what they are. */
export function pairs<A extends string>(table: Readonly<Partial<Record<A, string>>>, what: Text) {
  const unknown = (value: string) => new Cannot(`${what.en} ${value}`, `${what.zh} ${value}`);
  const back = new Map(Object.entries(table).map(([ours, theirs]) => [theirs as string, ours as A]));
  return {
    to(value: A): string {
      const found = table[value];
      if (found === undefined) throw unknown(value);
      return found;
    },
    from(value: string): A {
      const found = back.get(value);
      if (found === undefined) throw unknown(value);
      return found;
    },
  };
}

/** Layer counts of consecutive stages back to layer lists. */
export function stagesOf(counts: readonly number[]): number[][] {
  let next = 0;
  return counts.map((count) => Array.from({ length: count }, () => next++));
}
