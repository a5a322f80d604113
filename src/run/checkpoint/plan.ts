import { fail } from "../errors.ts";
import { type Dtype, isWeight, labelOf, placeOf, widthOf } from "./dtype.ts";
import { type Box, type Checkpoint, product } from "./read.ts";

/** One tensor of a Hugging Face folder, and the box of the logical tensor `source` that it is. */
export type Entry = {
  readonly name: string;
  readonly source: string;
  readonly box: Box;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly bytes: number;
};

const WEIGHT = "model/";

/** What an export holds, in the order of names in which layer 10 follows layer 9. Weights become `dtype` where the model's class lets them. */
export function entriesOf({ path, tensors }: Checkpoint, dtype: Dtype): Entry[] {
  const found: Entry[] = [];
  for (const [source, stored] of Object.entries(tensors)) {
    if (!source.startsWith(WEIGHT)) continue;
    const { names, keep, shape } = stored;
    if (!names?.[0]) throw fail("RUN_CHECKPOINT_NAMES", { path, tensor: source }, { file: path });
    const kind = isWeight(stored.dtype) && !keep ? dtype : stored.dtype;
    const entry = (name: string, box: Box, seen: readonly number[]): Entry => ({
      name,
      source,
      box,
      dtype: kind,
      shape: seen,
      bytes: product(seen) * widthOf(kind),
    });
    if (!names[0].includes("{}")) {
      found.push(entry(names[0], { start: shape.map(() => 0), shape }, shape));
      continue;
    }
    const [experts = 0, all = 0, ...rest] = shape;
    const rows = all / names.length;
    for (let expert = 0; expert < experts; expert++) {
      for (const [i, name] of names.entries()) {
        const box = { start: [expert, i * rows, ...rest.map(() => 0)], shape: [1, rows, ...rest] };
        found.push(entry(name.replace("{}", String(expert)), box, [rows, ...rest]));
      }
    }
  }
  const keys = new Map(found.map(({ name }) => [name, name.match(/\d+|\D+/g) ?? []]));
  return found.sort((a, b) => natural(keys.get(a.name) ?? [], keys.get(b.name) ?? []));
}

/** Numbers by value, before words. */
function natural(a: readonly string[], b: readonly string[]): number {
  for (const [i, left] of a.entries()) {
    const right = b[i];
    if (right === undefined) return 1;
    if (left === right) continue;
    const [x, y] = [Number(left), Number(right)];
    if (!Number.isNaN(x) && !Number.isNaN(y) && x !== y) return x - y;
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
    return left < right ? -1 : 1;
  }
  return a.length - b.length;
}

/** Entries in order, cut before a file would pass `limit` bytes; a larger tensor has a file of its own. */
export function shardsOf(entries: readonly Entry[], limit: number): Entry[][] {
  const shards: Entry[][] = [[]];
  let size = 0;
  for (const entry of entries) {
    if ((shards.at(-1)?.length ?? 0) > 0 && size + entry.bytes > limit) {
      shards.push([]);
      size = 0;
    }
    shards.at(-1)?.push(entry);
    size += entry.bytes;
  }
  return shards;
}

export const shardName = (index: number, count: number): string =>
  count === 1 ? "model.safetensors" : `model-${five(index + 1)}-of-${five(count)}.safetensors`;

const five = (n: number): string => String(n).padStart(5, "0");

/** Entries in the order in which they stand in a safetensors file, and the bytes before the first of them. */
export function fileOf(shard: readonly Entry[]): { header: Uint8Array; entries: Entry[] } {
  const entries = [...shard].sort(
    (a, b) => placeOf(a.dtype) - placeOf(b.dtype) || (a.name < b.name ? -1 : 1),
  );
  let at = 0;
  const described = entries.map(({ name, dtype, shape, bytes }) => {
    const offsets = [at, (at += bytes)];
    return `${JSON.stringify(name)}:${JSON.stringify({ dtype: labelOf(dtype), shape, data_offsets: offsets })}`;
  });
  const text = `{"__metadata__":{"format":"pt"}${described.map((one) => `,${one}`).join("")}}`;
  const size = Math.ceil(Buffer.byteLength(text) / 8) * 8;
  const header = Buffer.alloc(8 + size, " ");
  header.writeBigUInt64LE(BigInt(size));
  header.write(text, 8);
  return { header, entries };
}
