/** Reference data beside the checkout (never part of the project), and small tools the layout benchmarks share. */
import { existsSync, readFileSync } from "node:fs";
import { cpus } from "node:os";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "../..");
const candidates = [process.env["TESSERA_SHARED"], join(ROOT, "../shared"), join(ROOT, "../../shared")];

export const SHARED = candidates.find((path) => path !== undefined && existsSync(join(path, "data")));

export function sharedFile(name: string): string {
  if (SHARED === undefined) {
    console.error("reference data not found: set TESSERA_SHARED to the folder that holds data/");
    process.exit(3);
  }
  return join(SHARED, "data", name);
}

/** Rows of a CSV file with quoted fields, by column name. */
export function readCsv(path: string): Record<string, string>[] {
  const rows: string[][] = [[]];
  let cell = "";
  let quoted = false;
  const text = readFileSync(path, "utf8");
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string;
    if (quoted) {
      if (c === '"' && text[i + 1] === '"') {
        cell += '"';
        i++;
      } else if (c === '"') quoted = false;
      else cell += c;
    } else if (c === '"') quoted = true;
    else if (c === "," || c === "\n") {
      (rows.at(-1) as string[]).push(cell.replace(/\r$/, ""));
      cell = "";
      if (c === "\n") rows.push([]);
    } else cell += c;
  }
  const header = rows[0] as string[];
  return rows
    .slice(1)
    .filter((row) => row.length > 1)
    .map((row) => Object.fromEntries(header.map((name, i) => [name, row[i] ?? ""])));
}

export const machine = (): string =>
  `${cpus().length} x ${cpus()[0]?.model.trim() ?? "CPU"}, Node ${process.version}`;
export const percent = (x: number, digits = 2): string =>
  `${x >= 0 ? "+" : ""}${(100 * x).toFixed(digits)} %`;
