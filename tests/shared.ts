import { existsSync } from "node:fs";
import { join, resolve } from "node:path";

/** Folder of optional published data: TESSERA_SHARED, or `shared` beside the checkout; undefined where there is none. */
export function sharedFolder(...parts: string[]): string | undefined {
  const root = process.env["TESSERA_SHARED"] ?? resolve(import.meta.dirname, "../../shared");
  const path = join(root, ...parts);
  return existsSync(path) ? path : undefined;
}
