import { existsSync, readFileSync } from "node:fs";
import { TesseraError } from "../base/index.ts";
import { fail } from "./errors.ts";

/**
 * Records of a JSON-lines file, each checked by `read`, which says what is wrong by throwing. With `torn`, a last line without its
 * newline is left out instead of refused: the file's writer may have been killed in the middle of it.
 */
export function readJsonl<T>(
  path: string,
  read: (value: Record<string, unknown>) => T,
  { torn = false } = {},
): T[] {
  if (!existsSync(path)) throw fail("EVAL_FILE", { what: path, why: "not there" }, { file: path });
  const lines = readFileSync(path, "utf8").split("\n");
  if (torn) lines.pop();
  const records: T[] = [];
  for (const [i, line] of lines.entries()) {
    if (line.trim() === "") continue;
    try {
      const value: unknown = JSON.parse(line);
      if (typeof value !== "object" || value === null || Array.isArray(value))
        throw new Error("not an object");
      records.push(read(value as Record<string, unknown>));
    } catch (cause) {
      if (cause instanceof TesseraError) throw cause;
      throw fail("EVAL_LINE", { why: (cause as Error).message }, { file: path, line: i + 1 }, cause);
    }
  }
  return records;
}

export function textField(value: Record<string, unknown>, name: string): string {
  const field = value[name];
  if (typeof field === "string") return field;
  throw new Error(`"${name}" must be a text`);
}

export function numberField(value: Record<string, unknown>, name: string): number {
  const field = value[name];
  if (typeof field === "number") return field;
  throw new Error(`"${name}" must be a number`);
}

export const toJsonl = (records: readonly unknown[]): string =>
  records.map((record) => `${JSON.stringify(record)}\n`).join("");
