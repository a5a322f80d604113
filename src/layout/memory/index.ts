/** Memory of every rank of a layout, by category, at the moment of its peak. */
export { memoryOf, type MemoryOptions } from "./evaluate.ts";
export { rankLoads, type RoutingLoad, routingLoads } from "./imbalance.ts";
export { FSDP2_STACK, MEGATRON_2025, MEGATRON_2026, type MegatronStack } from "./stack.ts";
export { chunkRange } from "./shards.ts";
export { WEIGHT_BYTES } from "./states.ts";
export { CATEGORIES } from "./types.ts";
export { savedForBackward } from "./tessera.ts";
export type * from "./types.ts";
