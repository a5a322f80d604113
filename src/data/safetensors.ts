import { readFileSync } from "node:fs";
import { sha256, writeFileAtomic } from "../base/node.ts";
import { fail } from "./errors.ts";

/**
 * Hugging Face's safetensors: 8 bytes of header length (little endian), a JSON header with dtype, shape and byte range of every tensor,
 * then the bytes. We add, in the header's free metadata, a SHA-256 of header and bytes, so that a flipped bit anywhere is found;
 * other readers ignore it.
 */
export type Tensor =
  | { readonly dtype: "I32"; readonly shape: readonly number[]; readonly data: Int32Array }
  | { readonly dtype: "F32"; readonly shape: readonly number[]; readonly data: Float32Array }
  | { readonly dtype: "U8"; readonly shape: readonly number[]; readonly data: Uint8Array };

type Entry = {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
};
const WIDTH: Readonly<Record<string, number>> = { I32: 4, F32: 4, U8: 1 };

export function encodeTensors(
  tensors: Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const names = Object.keys(tensors).sort();
  const entries: Record<string, Entry> = {};
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const name of names) {
    const { dtype, shape, data } = tensors[name] as Tensor;
    if (shape.reduce((product, each) => product * each, 1) !== data.length)
      throw new RangeError(`${name}: shape and length differ`);
    entries[name] = { dtype, shape, data_offsets: [at, at + data.byteLength] };
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    at += data.byteLength;
  }
  const payload = Buffer.concat(parts);
  const signed = { ...metadata, sha256: digest(entries, metadata, payload) };
  let header = JSON.stringify({ __metadata__: signed, ...entries });
  header += " ".repeat((8 - (Buffer.byteLength(header) % 8)) % 8);
  const headerBytes = Buffer.from(header, "utf8");
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(headerBytes.length));
  return Buffer.concat([length, headerBytes, payload]);
}

const digest = (
  entries: Readonly<Record<string, Entry>>,
  metadata: Readonly<Record<string, string>>,
  payload: Uint8Array,
): string =>
  sha256(
    `${JSON.stringify(Object.entries(entries).sort(([a], [b]) => (a < b ? -1 : 1)))}\n${JSON.stringify(Object.entries(metadata))}\n${sha256(payload)}`,
  );

/** Reads what `encodeTensors` wrote. Throws DATA_TENSORS for a file that is cut, changed or not ours. */
export function decodeTensors(
  bytes: Uint8Array,
  file?: string,
): { tensors: Record<string, Tensor>; metadata: Record<string, string> } {
  const damaged = (detail: string) => fail("DATA_TENSORS", { detail }, file === undefined ? {} : { file });
  if (bytes.length < 8) throw damaged(`${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerLength = Number(view.getBigUint64(0, true));
  if (headerLength > bytes.length - 8)
    throw damaged(`header of ${headerLength} bytes in a file of ${bytes.length}`);
  const header = parseHeader(bytes.subarray(8, 8 + headerLength));
  if (!header) throw damaged("the header is no JSON");
  const payload = bytes.subarray(8 + headerLength);
  const { __metadata__: all, ...entries } = header;
  const { sha256: expected, ...metadata } = (all ?? {}) as Record<string, string>;
  if (expected === undefined) throw damaged("no checksum");
  const own = entries as Record<string, Entry>;
  if (digest(own, metadata, payload) !== expected) throw damaged("the checksum does not match");
  const tensors: Record<string, Tensor> = {};
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(own)) {
    const width = WIDTH[dtype];
    if (width === undefined) throw damaged(`dtype ${dtype}`);
    // A copy, because typed arrays need an aligned start (and a Buffer's slice is only a view).
    const raw = new Uint8Array(payload.subarray(offsets[0], offsets[1]));
    if (raw.length !== width * shape.reduce((product, each) => product * each, 1))
      throw damaged(`size of ${name}`);
    if (dtype === "I32")
      tensors[name] = { dtype, shape, data: new Int32Array(raw.buffer, raw.byteOffset, raw.length / 4) };
    else if (dtype === "F32")
      tensors[name] = { dtype, shape, data: new Float32Array(raw.buffer, raw.byteOffset, raw.length / 4) };
    else tensors[name] = { dtype: "U8", shape, data: raw };
  }
  return { tensors, metadata };
}

function parseHeader(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    const header: unknown = JSON.parse(text);
    return header !== null && typeof header === "object" ? (header as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

export function writeTensors(
  path: string,
  tensors: Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>> = {},
): void {
  writeFileAtomic(path, encodeTensors(tensors, metadata));
}

export const readTensors = (path: string) => decodeTensors(new Uint8Array(readFileSync(path)), path);
