import type { TesseraError } from "../base/index.ts";
import { layoutFail } from "./errors.ts";

export type Data = Record<string, unknown>;

/** Typed access to the plain data of a case; every complaint names the place in it and what is allowed. */
export class CaseReader {
  readonly #index: number;
  constructor(index: number) {
    this.#index = index;
  }

  bad(path: string, problem: string): TesseraError {
    return layoutFail("ESTIMATE_CASE", { index: this.#index, path: path || "case", problem });
  }

  object(value: unknown, path: string, keys?: readonly string[]): Data {
    if (value === undefined) throw this.bad(path, "is missing");
    if (value === null || typeof value !== "object" || Array.isArray(value)) {
      throw this.bad(path, "must be an object");
    }
    for (const key of keys ? Object.keys(value) : []) {
      if (keys?.includes(key)) continue;
      const near = keys?.find((known) => known.toLowerCase() === key.toLowerCase().replace(/[_-]/g, ""));
      throw this.bad(
        path ? `${path}.${key}` : key,
        near ? `unknown key; did you mean '${near}'?` : `unknown key; known: ${keys?.join(", ")}`,
      );
    }
    return value as Data;
  }

  list(value: unknown, path: string, length?: number): unknown[] {
    if (!Array.isArray(value)) throw this.bad(path, "must be a list");
    if (length !== undefined && value.length !== length) {
      throw this.bad(path, `has ${value.length} entries, pp x vpp needs ${length}`);
    }
    return value;
  }

  /** Whole number from 1. */
  count(value: unknown, path: string, fallback?: number): number {
    if (value === undefined && fallback !== undefined) return fallback;
    if (typeof value !== "number" || !Number.isInteger(value) || value < 1) {
      throw this.bad(path, value === undefined ? "is missing" : "must be a whole number from 1");
    }
    return value;
  }

  /** Whole number from 0. */
  whole(value: unknown, path: string): number {
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 1e6) {
      throw this.bad(path, "must be a whole number from 0");
    }
    return value;
  }

  number(value: unknown, path: string, low: number, high: number): number {
    if (typeof value !== "number" || !(value >= low && value <= high)) {
      throw this.bad(path, `must be a number from ${low} to ${high}`);
    }
    return value;
  }

  flag(value: unknown, path: string, fallback: boolean): boolean {
    if (value === undefined) return fallback;
    if (typeof value !== "boolean") throw this.bad(path, "must be true or false");
    return value;
  }

  oneOf<T extends string | number>(value: unknown, path: string, allowed: readonly T[], fallback?: T): T {
    if (value === undefined && fallback !== undefined) return fallback;
    if (!allowed.includes(value as T)) {
      throw this.bad(
        path,
        `${value === undefined ? "is missing" : "is unknown"}; known: ${allowed.join(", ")}`,
      );
    }
    return value as T;
  }
}
