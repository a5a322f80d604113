/**
 * The bytes of a series segment. A segment is a 16-byte header and then frames, each with its length and CRC-32, little-endian:
 *
 *   header  "TESSERA1" | u32 version | u32 crc of the 12 bytes before
 *   frame   u32 payload bytes | u32 crc of the payload | payload
 *   payload u8 kind | 3 zero bytes | u32 series id | ...
 *     kind 1, declaration: JSON {name, type, rows, columns}
 *     kind 2, scalars:     u32 count | u32 0 | f64 step[count] | f64 t[count] | f64 value[count]
 *     kind 3, matrix:      f64 step | f64 t | i32 or f32 [rows x columns]
 *
 * Every segment declares its own series, so each can be read, copied or dropped alone. Nothing is ever rewritten: a crash leaves at
 * most one torn frame at the end, which no reader takes. Framing costs 24 bytes a flush and series, so flush by second, not by value.
 */
import { crc32 } from "node:zlib";

export const HEADER_BYTES = 16;
const VERSION = 1;
const FRAME_BYTES = 8;
/** A longer frame is taken for damage: 61 layers x 16,384 experts of 4 bytes are 4 MB. */
const MAX_PAYLOAD = 1 << 28;

export type MatrixType = "int32" | "float32";
export type Declaration = {
  readonly name: string;
  readonly type: "scalar" | MatrixType;
  /** 0 for scalars. */
  readonly rows: number;
  readonly columns: number;
};

export type Frame =
  | { readonly kind: "declare"; readonly id: number; readonly declaration: Declaration }
  | {
      readonly kind: "scalars";
      readonly id: number;
      readonly step: Float64Array;
      readonly t: Float64Array;
      readonly value: Float64Array;
    }
  | {
      readonly kind: "matrix";
      readonly id: number;
      readonly step: number;
      readonly t: number;
      /** Where the numbers begin, counted from the start of the segment. */
      readonly dataAt: number;
    };

export function headerBytes(): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.write("TESSERA1", "latin1");
  bytes.writeUInt32LE(VERSION, 8);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 12)), 12);
  return bytes;
}

export const isHeader = (bytes: Buffer): boolean => bytes.subarray(0, HEADER_BYTES).equals(headerBytes());

export function declareFrame(id: number, declaration: Declaration): Buffer {
  const text = Buffer.from(JSON.stringify(declaration), "utf8");
  return frame(1, id, text.length, (payload) => text.copy(payload, 8));
}

export function scalarsFrame(
  id: number,
  step: readonly number[],
  t: readonly number[],
  value: readonly number[],
): Buffer {
  const count = step.length;
  return frame(2, id, 8 + count * 24, (payload) => {
    payload.writeUInt32LE(count, 8);
    for (const [column, numbers] of [step, t, value].entries()) {
      for (let i = 0; i < count; i++)
        payload.writeDoubleLE(numbers[i] as number, 16 + (column * count + i) * 8);
    }
  });
}

export function matrixFrame(id: number, step: number, t: number, data: Int32Array | Float32Array): Buffer {
  return frame(3, id, 16 + data.length * 4, (payload) => {
    payload.writeDoubleLE(step, 8);
    payload.writeDoubleLE(t, 16);
    for (let i = 0; i < data.length; i++) {
      if (data instanceof Int32Array) payload.writeInt32LE(data[i] as number, 24 + i * 4);
      else payload.writeFloatLE(data[i] as number, 24 + i * 4);
    }
  });
}

function frame(kind: number, id: number, bodyBytes: number, fill: (payload: Buffer) => void): Buffer {
  const bytes = Buffer.alloc(FRAME_BYTES + 8 + bodyBytes);
  const payload = bytes.subarray(FRAME_BYTES);
  payload[0] = kind;
  payload.writeUInt32LE(id, 4);
  fill(payload);
  bytes.writeUInt32LE(payload.length, 0);
  bytes.writeUInt32LE(crc32(payload), 4);
  return bytes;
}

/**
 * Whole frames of `bytes`, which stand at `offset` of the segment, up to the first that is not whole or not intact.
 * `consumed` is how far they reach; what lies behind is a frame being written, or damage.
 */
export function parseFrames(bytes: Buffer, offset: number): { frames: Frame[]; consumed: number } {
  const frames: Frame[] = [];
  let at = 0;
  while (at + FRAME_BYTES <= bytes.length) {
    const length = bytes.readUInt32LE(at);
    if (length < 8 || length > MAX_PAYLOAD || at + FRAME_BYTES + length > bytes.length) break;
    const payload = bytes.subarray(at + FRAME_BYTES, at + FRAME_BYTES + length);
    if (crc32(payload) !== bytes.readUInt32LE(at + 4)) break;
    const parsed = parsePayload(payload, offset + at + FRAME_BYTES);
    if (parsed) frames.push(parsed);
    at += FRAME_BYTES + length;
  }
  return { frames, consumed: at };
}

/** Undefined for a kind of a later version: kept in the file, skipped here. */
function parsePayload(payload: Buffer, at: number): Frame | undefined {
  const id = payload.readUInt32LE(4);
  switch (payload[0]) {
    case 1:
      return { kind: "declare", id, declaration: JSON.parse(payload.toString("utf8", 8)) as Declaration };
    case 2: {
      const count = payload.readUInt32LE(8);
      const column = (i: number) => floats(payload.subarray(16 + i * count * 8, 16 + (i + 1) * count * 8));
      return { kind: "scalars", id, step: column(0), t: column(1), value: column(2) };
    }
    case 3:
      return {
        kind: "matrix",
        id,
        step: payload.readDoubleLE(8),
        t: payload.readDoubleLE(16),
        dataAt: at + 24,
      };
    default:
      return undefined;
  }
}

/** A copy as numbers: x64 and arm64, the machines this runs on, hold numbers little-endian as the file does. */
function floats(bytes: Buffer): Float64Array {
  return new Float64Array(Uint8Array.from(bytes).buffer);
}

/** The numbers of a matrix frame, from bytes read at its `dataAt`. */
export function matrixData(bytes: Buffer, type: MatrixType): Int32Array | Float32Array {
  const { buffer } = Uint8Array.from(bytes);
  return type === "int32" ? new Int32Array(buffer) : new Float32Array(buffer);
}

export const segmentName = (number: number): string => `${String(number).padStart(6, "0")}.series`;
/** Number of a segment's file name, or undefined for another file. */
export function segmentNumber(name: string): number | undefined {
  const match = /^(\d{6,})\.series$/.exec(name);
  return match ? Number(match[1]) : undefined;
}
