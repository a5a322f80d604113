/** Typed reading of a config.json: every complaint names the field, what was expected and the line it stands on. */
import type { Params, TesseraError, Text } from "../base/index.ts";
import { fail } from "./errors.ts";

/** Where the text came from, so that errors can point into it. */
export type Source = { readonly file?: string; readonly text?: string };

/**
 * No more than a model can have. Layers and experts become objects one by one, so an absurd count would exhaust the memory; products of
 * the others must stay exact.
 */
const MOST: readonly (readonly [RegExp, number])[] = [
  [/layers|modules|n_layer$/, 10_000],
  [/experts|moe_k|topk/, 65_536],
  [/vocab/, 2 ** 28],
  [/max_|n_positions|window|chunk/, 2 ** 40],
  [/./, 2 ** 24],
];
const most = (field: string): number => MOST.find(([name]) => name.test(field))?.[1] as number;

export function lineOf(text: string | undefined, field: string): { line?: number; column?: number } {
  if (text === undefined) return {};
  const at = text.indexOf(`"${field}"`);
  if (at < 0) return {};
  const before = text.slice(0, at).split("\n");
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}

export class Fields {
  readonly record: Readonly<Record<string, unknown>>;
  readonly type: string;
  readonly source: Source;

  constructor(record: Readonly<Record<string, unknown>>, type: string, source: Source) {
    this.record = record;
    this.type = type;
    this.source = source;
  }

  /** The same source with other values. */
  with(record: Readonly<Record<string, unknown>>): Fields {
    return new Fields(record, this.type, this.source);
  }

  error(code: Parameters<typeof fail>[0], params: Params, field?: string): TesseraError {
    const place = field === undefined ? {} : lineOf(this.source.text, field);
    return fail(code, params, {
      ...(this.source.file === undefined ? {} : { file: this.source.file }),
      ...place,
    });
  }

  /** Stands at the line of the type, which is what asks for the field. */
  missing(field: string): TesseraError {
    return this.error("MODEL_FIELD_MISSING", { field, type: this.type }, "model_type");
  }

  invalid(field: string, en: string, zh: string): TesseraError {
    const value = JSON.stringify(this.record[field]) ?? "undefined";
    return this.error(
      "MODEL_FIELD_INVALID",
      { field, value: value.length > 60 ? `${value.slice(0, 57)}...` : value, expected: { en, zh } },
      field,
    );
  }

  contradiction(en: string, zh: string, field?: string): TesseraError {
    return this.error(
      "MODEL_CONTRADICTION",
      { detail: { en, zh }, ...(field === undefined ? {} : { field }) },
      field,
    );
  }

  has(field: string): boolean {
    return this.record[field] !== undefined && this.record[field] !== null;
  }

  /** First of `names` that is present. */
  pick(...names: readonly string[]): string | undefined {
    return names.find((name) => this.has(name));
  }

  /** The value if it is a whole number from `low`, and no more than a model can have. */
  #whole(field: string, low: 0 | 1): number {
    const value = this.record[field];
    if (!Number.isInteger(value) || (value as number) < low) {
      throw low === 1
        ? this.invalid(field, "a positive integer", "正整數")
        : this.invalid(field, "an integer that is not negative", "非負整數");
    }
    const high = most(field);
    if ((value as number) > high) throw this.invalid(field, `at most ${high}`, `不大於 ${high} 的數`);
    return value as number;
  }

  /** Positive integer under the first of `names` that is present. */
  count(...names: readonly string[]): number {
    const field = this.pick(...names);
    if (field === undefined) {
      throw this.missing(names[0] as string);
    }
    return this.#whole(field, 1);
  }

  /** Like `count`, or `otherwise` when none of the names is present; 0 is allowed. */
  countOr(otherwise: number, ...names: readonly string[]): number {
    const field = this.pick(...names);
    if (field === undefined) return otherwise;
    return this.#whole(field, 0);
  }

  flag(otherwise: boolean, ...names: readonly string[]): boolean {
    const field = this.pick(...names);
    if (field === undefined) return otherwise;
    const value = this.record[field];
    if (typeof value !== "boolean") throw this.invalid(field, "true or false", "true 或 false");
    return value;
  }

  text(field: string): string | undefined {
    if (!this.has(field)) return undefined;
    const value = this.record[field];
    if (typeof value !== "string") throw this.invalid(field, "a string", "字串");
    return value;
  }

  strings(field: string, length?: number): readonly string[] | undefined {
    return this.list(field, { en: "strings", zh: "字串" }, (v): v is string => typeof v === "string", length);
  }

  counts(field: string, length?: number): readonly number[] | undefined {
    return this.list(
      field,
      { en: "integers that are not negative", zh: "非負整數" },
      (v): v is number => Number.isInteger(v) && (v as number) >= 0,
      length,
    );
  }

  objects(field: string, length?: number): readonly Record<string, unknown>[] | undefined {
    return this.list(
      field,
      { en: "objects", zh: "物件" },
      (v): v is Record<string, unknown> => isRecord(v),
      length,
    );
  }

  sub(field: string): Fields | undefined {
    if (!this.has(field)) return undefined;
    const value = this.record[field];
    if (!isRecord(value)) throw this.invalid(field, "an object", "物件");
    return new Fields(value, this.type, this.source);
  }

  private list<T>(
    field: string,
    what: Text,
    is: (v: unknown) => v is T,
    length?: number,
  ): readonly T[] | undefined {
    if (!this.has(field)) return undefined;
    const value = this.record[field];
    if (!Array.isArray(value) || !value.every(is))
      throw this.invalid(field, `a list of ${what.en}`, `${what.zh}的清單`);
    if (length !== undefined && value.length < length) {
      throw this.contradiction(
        `${field} has ${value.length} entries for ${length} layers`,
        `${field} 有 ${value.length} 項，但有 ${length} 層`,
        field,
      );
    }
    return value;
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
