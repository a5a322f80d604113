/** What the caching allocator holds beyond what tensors occupy. Fitted; see `bench/layout/memory.ts`. */
import type { Bytes } from "./types.ts";

/** Holes that temporaries and activations leave behind, as a share of them. */
const SHARE = 0.1;

export const fragmentation = (bytes: Bytes): number =>
  SHARE * (bytes.activations + bytes.loss + bytes.workspace);
