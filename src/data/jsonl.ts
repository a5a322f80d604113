import { readFileSync } from "node:fs";
import { fail } from "./errors.ts";

/** Rows as JSON lines. */
export const toLines = (rows: Iterable<unknown>): string => {
  let out = "";
  for (const row of rows) out += `${JSON.stringify(row)}\n`;
  return out;
};

/** Rows of a JSON-lines file; a line that is no JSON object is reported with its number. `check` returns what is wrong with a row. */
export function readLines<T>(
  path: string,
  check: (row: Record<string, unknown>) => string | undefined = () => undefined,
): T[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line, i) => {
      if (line === "") return [];
      const row = parse(line);
      const wrong = row === undefined ? "no JSON object" : check(row);
      if (wrong !== undefined) throw fail("DATA_ROW", { detail: wrong }, { file: path, line: i + 1 });
      return [row as T];
    });
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return value !== null && typeof value === "object" && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
