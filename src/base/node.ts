/** The part of base that needs Node: files, hashes, the append-only log. Pure folders must not import this. */
export { AppendLog } from "./append-log.ts";
export { syncFolder, writeFileAtomic } from "./files.ts";
export { machineMemory } from "./memory.ts";
export { hashJson, sha256, sha256File } from "./hash.ts";
