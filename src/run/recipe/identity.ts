import { existsSync, readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { err, ok, type Result, type TesseraError } from "../../base/index.ts";
import { hashJson, sha256File } from "../../base/node.ts";
import { fail } from "./errors.ts";
import type { LoadedRecipe } from "./load.ts";

/** Files up to this size count by content; larger ones (weights) by name and size, so that asking costs no minutes. */
const HASHED_BYTES = 64 * 1024 * 1024;

/**
 * What was asked, as an identity: the recipe with its defaults, and the content of every file it names. Where those files lie and
 * how the YAML is written do not count, so the same question anywhere is the same run.
 */
export function recipeIdentity(loaded: LoadedRecipe, label = ""): Result<string> {
  const { recipe, folder } = loaded;
  const named = namedPaths(loaded);
  const contents: Record<string, unknown> = {};
  for (const { where, path } of named) {
    const full = resolve(folder, path);
    if (!existsSync(full)) return err(missing(loaded, where, path));
    contents[where] = fingerprint(full);
  }
  const paths = new Map(named.map(({ path, where }) => [path, `<${where}>`]));
  const asked = JSON.parse(
    JSON.stringify(recipe, (_key, value: unknown) =>
      typeof value === "string" ? (paths.get(value) ?? value) : value,
    ),
  ) as unknown;
  return ok(hashJson({ asked, contents, label }).slice(0, 12));
}

/** Paths in a recipe, each with the key that names it. */
export function namedPaths({ recipe }: LoadedRecipe): { where: string; path: string }[] {
  const found = [{ where: "model.base", path: recipe.model.base }];
  if (recipe.data && "files" in recipe.data) {
    for (const [i, path] of recipe.data.files.entries()) found.push({ where: `data.files.${i}`, path });
  }
  if (recipe.data && "packed" in recipe.data) {
    const { packed, order } = recipe.data;
    found.push({ where: "data.packed", path: packed });
    if (order !== undefined) found.push({ where: "data.order", path: order });
  }
  if (recipe.evaluate?.retention.data) {
    found.push({ where: "evaluate.retention.data", path: recipe.evaluate.retention.data });
  }
  return found;
}

function missing(loaded: LoadedRecipe, where: string, path: string): TesseraError {
  const line = loaded.text.split("\n").findIndex((text) => text.includes(path)) + 1;
  return fail(
    "RECIPE_PATH",
    { where, path, folder: loaded.folder },
    { file: loaded.file, ...(line > 0 ? { line } : {}) },
  );
}

function fingerprint(path: string): unknown {
  const stat = statSync(path);
  if (stat.isDirectory()) {
    return readdirSync(path)
      .filter((name) => !name.startsWith("."))
      .sort()
      .map((name) => [name, fingerprint(join(path, name))]);
  }
  return stat.size <= HASHED_BYTES ? sha256File(path) : { bytes: stat.size };
}
