/**
 * What the caching allocator holds beyond what tensors occupy: a named, fitted term.
 *
 * Two shares, fitted by least squares on the 19 distinct configurations of the B200 rows of `bench/layout/memory.ts`
 * (static shapes, default allocator; the same row spreads by 1.4 % over its own ranks): tensors that come and go leave
 * holes, and scratch tensors made once, late, pin the large segments they were cut from.
 */
import type { Bytes } from "./types.ts";

const MOVING_SHARE = 0.134;
const STANDING_SHARE = 0.67;

export const fragmentation = (bytes: Bytes): number =>
  MOVING_SHARE * (bytes.activations + bytes.loss) + STANDING_SHARE * bytes.workspace;
