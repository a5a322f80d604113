import { Random } from "../base/index.ts";
import { hash32, isNumber, unitsOf } from "./units.ts";

/**
 * Exact and near duplicates. In this data the numbers are the content: the same wording with other numbers is another task with
 * another answer. So two texts are near-duplicates iff they hold the same bag of numbers AND their wording (shingles of three
 * units, numbers masked) has a Jaccard similarity of at least the threshold. Candidates come from MinHash with banding (24 bands of 4
 * rows: a pair at similarity 0.7 is seen with probability 0.998), where every shingle is salted with the bag of numbers, so
 * texts with other numbers never share a bucket; each candidate is then checked exactly.
 */
export type DedupOptions = { readonly threshold: number };
/** `at` is the place in the list: exact duplicates may share their id. */
export type Duplicate = {
  readonly at: number;
  readonly id: string;
  readonly reason: "exact-duplicate" | "near-duplicate";
  readonly of: string;
};
type Item = { readonly id: string; readonly text: string };

const BANDS = 24;
const ROWS = 4;
const SHINGLE = 3;

/** Hashes of the salted shingles of a text, each once. */
export function features(text: string): Uint32Array {
  const units = unitsOf(text);
  const bag = units.filter(isNumber).sort().join(" ");
  const salt = hash32(bag);
  const masked = units.map((unit) => (isNumber(unit) ? "#" : unit));
  const out = new Set<number>();
  for (let i = 0; i < Math.max(1, masked.length - SHINGLE + 1); i++) {
    out.add(hash32(masked.slice(i, i + SHINGLE).join(" "), salt));
  }
  return Uint32Array.from(out).sort();
}

/** Intersection over union of two sorted sets. */
export function jaccard(a: Uint32Array, b: Uint32Array): number {
  let i = 0;
  let j = 0;
  let both = 0;
  while (i < a.length && j < b.length) {
    const x = a[i] as number;
    const y = b[j] as number;
    if (x === y) both++;
    if (x <= y) i++;
    if (y <= x) j++;
  }
  const union = a.length + b.length - both;
  return union === 0 ? 1 : both / union;
}

const { multipliers, offsets } = (() => {
  const random = new Random("minhash");
  const draw = () => Uint32Array.from({ length: BANDS * ROWS }, () => random.uint32());
  return { multipliers: draw().map((each) => each | 1), offsets: draw() };
})();

function signature(values: Uint32Array): Uint32Array {
  const out = new Uint32Array(BANDS * ROWS).fill(0xffffffff);
  for (const value of values) {
    for (let k = 0; k < out.length; k++) {
      let h = (Math.imul(value, multipliers[k] as number) + (offsets[k] as number)) >>> 0;
      h = (h ^ (h >>> 15)) >>> 0;
      h = Math.imul(h, 0x2c1b3c6d) >>> 0;
      if (h < (out[k] as number)) out[k] = h;
    }
  }
  return out;
}

/** The texts to take out; of each group of duplicates the first stays. */
export function findDuplicates(items: readonly Item[], options: DedupOptions): Duplicate[] {
  const out: Duplicate[] = [];
  const exact = new Map<string, string>();
  const buckets: Map<string, number[]>[] = Array.from({ length: BANDS }, () => new Map());
  const sets: Uint32Array[] = [];
  items.forEach(({ id, text }, index) => {
    const values = features(text);
    sets[index] = values;
    const known = exact.get(text);
    if (known !== undefined) {
      out.push({ at: index, id, reason: "exact-duplicate", of: known });
      return;
    }
    exact.set(text, id);
    const signed = signature(values);
    const keys = buckets.map((_bucket, band) => signed.subarray(band * ROWS, (band + 1) * ROWS).join());
    const candidates = new Set(keys.flatMap((key, band) => buckets[band]?.get(key) ?? []));
    for (const other of candidates) {
      if (jaccard(values, sets[other] as Uint32Array) >= options.threshold) {
        out.push({ at: index, id, reason: "near-duplicate", of: (items[other] as Item).id });
        return;
      }
    }
    keys.forEach((key, band) => {
      const bucket = buckets[band]?.get(key);
      if (bucket) bucket.push(index);
      else buckets[band]?.set(key, [index]);
    });
  });
  return out;
}
