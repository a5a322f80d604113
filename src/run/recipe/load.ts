import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { isMap, isNode, isPair, isScalar, LineCounter, parseDocument, type Document } from "yaml";
import { err, ok, type Place, type Result, type TesseraError } from "../../base/index.ts";
import { nearest } from "../../base/nearest.ts";
import { type FlatIssue, flatIssues, type JsonSchema, schemasAt } from "../../base/schema.ts";
import { conflicts } from "./check.ts";
import { fail } from "./errors.ts";
import { recipeJsonSchema } from "./reference.ts";
import { type Recipe, recipeSchema } from "./schema.ts";

/** A recipe that passed, the folder its paths are relative to, and its text as written. */
export type LoadedRecipe = {
  readonly recipe: Recipe;
  readonly folder: string;
  readonly file: string;
  readonly text: string;
};

/** Reads and checks a recipe; every fault is reported, each with its line and column. */
export function loadRecipe(file: string): Result<LoadedRecipe, readonly TesseraError[]> {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause);
    return err([fail("RECIPE_FILE", { file, why }, { file }, cause)]);
  }
  const parsed = parseRecipe(text, file);
  if (!parsed.ok) return parsed;
  return ok({ recipe: parsed.value, folder: dirname(resolve(file)), file, text });
}

/** Checks the text of a recipe. `file` is only for messages. */
export function parseRecipe(text: string, file: string): Result<Recipe, readonly TesseraError[]> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { file, line, column: col };
  };
  if (document.errors.length > 0) {
    return err(
      document.errors.map((one) => fail("RECIPE_YAML", { why: one.message }, placeAt(one.pos[0]), one)),
    );
  }
  let plain: unknown;
  try {
    plain = document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    // An alias without its anchor, or so many aliases that the text is an attack on the memory.
    return err([fail("RECIPE_YAML", { why: (cause as Error).message }, placeAt(0), cause)]);
  }
  const checked = recipeSchema.safeParse(plain ?? {});
  const place = (path: readonly PropertyKey[]) => placeAt(offsetOf(document, path));
  if (!checked.success) {
    const schema = recipeJsonSchema("en");
    const issues = checked.error.issues.flatMap((issue) => flatIssues(issue));
    return err(sorted(issues.flatMap((issue) => report(issue, schema, document, place))));
  }
  const clashes = conflicts(checked.data);
  if (clashes.length === 0) return ok(checked.data);
  return err(
    sorted(
      clashes.map(({ path, en, zh }) =>
        fail("RECIPE_LAYOUT", { why: en, whyZh: zh, where: where(path) }, place(path)),
      ),
    ),
  );
}

function report(
  issue: FlatIssue,
  schema: JsonSchema,
  document: Document,
  place: (path: readonly PropertyKey[]) => Place,
): TesseraError[] {
  const at = where(issue.path);
  const value: unknown = document.getIn(issue.path as unknown[]);
  const received = kindOf(value);
  if (issue.code === "unrecognized_keys") {
    const known = schemasAt(schema, issue.path).flatMap((one) => Object.keys(one.properties ?? {}));
    return issue.keys.map((name) => {
      const meant = nearest(name, known);
      return fail(
        "RECIPE_UNKNOWN_KEY",
        { key: name, where: at, ...hint(meant, known) },
        place([...issue.path, name]),
      );
    });
  }
  if (value === undefined && issue.path.length > 0) {
    const parent = issue.path.slice(0, -1);
    return [
      fail("RECIPE_MISSING_KEY", { key: String(issue.path.at(-1)), where: where(parent) }, place(parent)),
    ];
  }
  if (issue.code === "invalid_type") {
    return [fail("RECIPE_TYPE", { where: at, expected: issue.expected, received }, place(issue.path))];
  }
  if (issue.code === "invalid_value") {
    const allowed = issue.values.map(String);
    const meant = nearest(String(value), allowed);
    return [
      fail(
        "RECIPE_VALUE",
        {
          where: at,
          received: JSON.stringify(value),
          expected: allowed.join(" | "),
          ...hint(meant, []),
        },
        place(issue.path),
      ),
    ];
  }
  return [
    fail(
      "RECIPE_VALUE",
      { where: at, received, expected: issue.message, ...hint(undefined, []) },
      place(issue.path),
    ),
  ];
}

const where = (path: readonly PropertyKey[]): string =>
  path.length === 0 ? "recipe" : path.map(String).join(".");

/** "did you mean" in both languages, or the known keys when no word is near. */
function hint(meant: string | undefined, known: readonly string[]): { hint: string; hintZh: string } {
  if (meant) return { hint: `; did you mean "${meant}"?`, hintZh: `；是否為「${meant}」？` };
  return known.length > 0
    ? { hint: `; known: ${known.join(", ")}`, hintZh: `；可用：${known.join("、")}` }
    : { hint: "", hintZh: "" };
}

/** A value in a message, the same in every language. */
function kindOf(value: unknown): string {
  if (isNode(value)) return isMap(value) ? "{…}" : "[…]";
  return JSON.stringify(value) ?? "null";
}

/** Where a key stands in the text: the key itself in a mapping, the value in a list, else the nearest parent. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number {
  for (let length = path.length; length > 0; length--) {
    const parent: unknown =
      length === 1 ? document.contents : document.getIn(path.slice(0, length - 1) as unknown[], true);
    const last = path[length - 1];
    if (isMap(parent)) {
      const pair = parent.items.find(
        (one) => isPair(one) && isScalar(one.key) && String(one.key.value) === String(last),
      );
      if (pair && isScalar(pair.key) && pair.key.range) return pair.key.range[0];
    }
    const node: unknown = document.getIn(path.slice(0, length) as unknown[], true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return document.contents?.range?.[0] ?? 0;
}

const sorted = (errors: TesseraError[]): TesseraError[] =>
  errors.sort(
    (a, b) => (a.place.line ?? 0) - (b.place.line ?? 0) || (a.place.column ?? 0) - (b.place.column ?? 0),
  );
