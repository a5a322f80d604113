import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

/** The house of the design: a folder imports only from folders before it in this list (and from itself). */
const ORDER = [
  "base",
  "model",
  "cluster",
  "layout",
  "experts",
  "data",
  "domains/or",
  "evaluate",
  "run",
  "watch",
  "store",
  "console",
  "cli",
];
/** Folders that must also run in a browser: no Node API, and none of base's Node part. */
const PURE = new Set(["model", "cluster", "layout", "experts"]);
const SRC = resolve(import.meta.dirname, "../src");

const folderOf = (path: string) => ORDER.find((name) => relative(SRC, path).startsWith(`${name}/`));

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
}

const importsOf = (path: string) =>
  [...readFileSync(path, "utf8").matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map(
    (match) => match[1] as string,
  );

test("folders import only from folders before them", () => {
  const wrong: string[] = [];
  for (const path of sources(SRC)) {
    const own = folderOf(path);
    if (own === undefined) wrong.push(`${relative(SRC, path)}: in no folder of the house`);
    for (const target of importsOf(path)) {
      if (!target.startsWith(".")) continue;
      const other = folderOf(resolve(dirname(path), target));
      if (own !== undefined && other !== undefined && ORDER.indexOf(other) > ORDER.indexOf(own)) {
        wrong.push(`${relative(SRC, path)} (${own}) imports ${target} (${other})`);
      }
    }
  }
  expect(wrong).toEqual([]);
});

test("pure folders use no Node API", () => {
  const wrong = sources(SRC)
    .filter((path) => PURE.has(folderOf(path) ?? "") && !path.endsWith(".test.ts"))
    .flatMap((path) =>
      importsOf(path)
        .filter((target) => target.startsWith("node:") || target.endsWith("base/node.ts"))
        .map((target) => `${relative(SRC, path)} imports ${target}`),
    );
  expect(wrong).toEqual([]);
});
