import type { WireArray } from "./messages.ts";

const KINDS = {
  int8: Int8Array,
  uint8: Uint8Array,
  int32: Int32Array,
  float32: Float32Array,
  float64: Float64Array,
} as const;

/** Values of an array of a message, row by row; nothing when the bytes do not fit the shape or the type is unknown. */
export function decodeArray(array: WireArray): { shape: readonly number[]; values: number[] } | undefined {
  const kind = Object.hasOwn(KINDS, array.dtype) ? KINDS[array.dtype as keyof typeof KINDS] : undefined;
  const bytes = Uint8Array.from(Buffer.from(array.b64, "base64"));
  const count = array.shape.reduce((product, size) => product * size, 1);
  if (!kind || array.shape.some((size) => size < 0) || bytes.length !== count * kind.BYTES_PER_ELEMENT)
    return undefined;
  return { shape: array.shape, values: Array.from(new kind(bytes.buffer)) };
}

export function encodeArray(
  dtype: keyof typeof KINDS,
  shape: readonly number[],
  values: readonly number[],
): WireArray {
  const typed = KINDS[dtype].from(values as number[]);
  return { dtype, shape, b64: Buffer.from(typed.buffer).toString("base64") };
}
