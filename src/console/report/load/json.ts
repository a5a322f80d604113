import { existsSync, readFileSync } from "node:fs";

export type Json = Readonly<Record<string, unknown>>;

export const isJson = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A JSON file, or undefined when it is not there or not readable: a report of a broken run shows what there is. */
export function readJson(path: string): Json | undefined {
  if (!existsSync(path)) return undefined;
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    return isJson(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The value at a path of keys, or undefined. */
export function at(value: unknown, ...keys: readonly string[]): unknown {
  return keys.reduce<unknown>((inner, key) => (isJson(inner) ? inner[key] : undefined), value);
}

export const numberAt = (value: unknown, ...keys: readonly string[]): number | undefined => {
  const found = at(value, ...keys);
  return typeof found === "number" && Number.isFinite(found) ? found : undefined;
};
export const textAt = (value: unknown, ...keys: readonly string[]): string | undefined => {
  const found = at(value, ...keys);
  return typeof found === "string" ? found : undefined;
};
