import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { join } from "node:path";

/** Where a tensor of integers lies in a safetensors file; its values are read in parts. */
export type IntegerTensor = {
  readonly shape: readonly number[];
  read(from: number, count: number): Int32Array;
};

type Entry = {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly number[];
};

const HEADER_BYTES = 100 * 1024 * 1024;

/** A tensor of int32 or int64 in a safetensors file, or nothing when the file has none of that name or is damaged (whoever needs it will say so). Values past 2^31 do not occur: ids. */
export function integerTensor(path: string, name: string): IntegerTensor | undefined {
  if (!existsSync(path)) return undefined;
  const { size } = statSync(path);
  const length = size < 8 ? 0 : Number(readBytes(path, 0, 8).readBigUInt64LE(0));
  if (!(length > 0 && length < HEADER_BYTES && 8 + length <= size)) return undefined;
  const entry = parse(readBytes(path, 8, length).toString("utf8"))?.[name] as Partial<Entry> | undefined;
  const width = entry?.dtype === "I64" ? 8 : entry?.dtype === "I32" ? 4 : 0;
  if (!entry || width === 0 || !Array.isArray(entry.shape) || !Array.isArray(entry.data_offsets))
    return undefined;
  const values = entry.shape.reduce((product, length) => product * length, 1);
  const start = 8 + length + Number(entry.data_offsets[0]);
  if (!(Number.isSafeInteger(start) && start >= 8 && values >= 0 && start + values * width <= size))
    return undefined;
  return {
    shape: entry.shape,
    read: (from, count) => {
      const bytes = readBytes(path, start + from * width, count * width);
      const aligned = new Uint8Array(bytes).buffer;
      return width === 4 ? new Int32Array(aligned) : Int32Array.from(new BigInt64Array(aligned), Number);
    },
  };
}

/** The file of a Hugging Face folder that holds a tensor. */
export function fileOfTensor(folder: string, name: string): string {
  const index = join(folder, "model.safetensors.index.json");
  if (!existsSync(index)) return join(folder, "model.safetensors");
  const map = (parse(readFileSync(index, "utf8"))?.["weight_map"] ?? {}) as Record<string, string>;
  return join(folder, map[name] ?? "model.safetensors");
}

function readBytes(path: string, at: number, count: number): Buffer {
  const fd = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(count);
    return bytes.subarray(0, readSync(fd, bytes, 0, count, at));
  } finally {
    closeSync(fd);
  }
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
