/** Number formats by the engine's names, as safetensors labels them, with bytes of one number. */
const FORMATS = {
  uint64: ["U64", 8],
  int64: ["I64", 8],
  float64: ["F64", 8],
  float32: ["F32", 4],
  uint32: ["U32", 4],
  int32: ["I32", 4],
  bfloat16: ["BF16", 2],
  float16: ["F16", 2],
  int16: ["I16", 2],
  int8: ["I8", 1],
  uint8: ["U8", 1],
  bool: ["BOOL", 1],
} as const satisfies Readonly<Record<string, readonly [string, number]>>;

export type Dtype = keyof typeof FORMATS;

export const isDtype = (name: unknown): name is Dtype =>
  typeof name === "string" && Object.hasOwn(FORMATS, name);
export const labelOf = (dtype: Dtype): string => FORMATS[dtype][0];
export const widthOf = (dtype: Dtype): number => FORMATS[dtype][1];
/** Place of a format in a safetensors file: the widest come first, so that every tensor is aligned. */
export const placeOf = (dtype: Dtype): number => Object.keys(FORMATS).indexOf(dtype);

/** Formats that weights are trained and stored in: these can become one another. */
export const WEIGHTS = ["float32", "bfloat16"] as const;
export const isWeight = (dtype: Dtype): dtype is (typeof WEIGHTS)[number] =>
  WEIGHTS.includes(dtype as "float32");

/** The same numbers in another format, to the nearest and of two equally near ones to the even one. `bytes` must be aligned. */
export function convert(bytes: Uint8Array, from: Dtype, to: Dtype): Uint8Array {
  if (from === to) return bytes;
  const count = bytes.byteLength / widthOf(from);
  if (from === "float32" && to === "bfloat16") {
    const wide = new Uint32Array(bytes.buffer, bytes.byteOffset, count);
    const narrow = new Uint16Array(count);
    for (let i = 0; i < count; i++) {
      const bits = wide[i] as number;
      // What is no number must not be rounded into infinity.
      narrow[i] = (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
    }
    return new Uint8Array(narrow.buffer);
  }
  if (from === "bfloat16" && to === "float32") {
    const narrow = new Uint16Array(bytes.buffer, bytes.byteOffset, count);
    const wide = new Uint32Array(count);
    for (let i = 0; i < count; i++) wide[i] = (narrow[i] as number) << 16;
    return new Uint8Array(wide.buffer);
  }
  throw new TypeError(`no conversion from ${from} to ${to}`);
}
