import fc from "fast-check";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { renderError } from "../../base/index.ts";
import { loadRecipe, parseRecipe, recipeIdentity, recipeJsonSchema, recipeReference } from "./index.ts";
import { editDistance, nearest } from "../../base/nearest.ts";

const folder = mkdtempSync(join(tmpdir(), "tessera-recipe-"));
afterAll(() => rmSync(folder, { recursive: true }));

const GOOD = `name: tiny
model:
  base: base
stages:
  - kind: sft
    steps: 10
batch:
  sequenceLength: 64
  microBatch: 2
  globalBatch: 8
optimizer:
  learningRate: 0.001
layout:
  pp: 2
  dpShard: 2
  ep: 2
`;

const faults = (text: string) => {
  const result = parseRecipe(text, "r.yaml");
  if (result.ok) throw new Error("the recipe passed");
  return result.error;
};
const edit = (from: string, to: string) => {
  expect(GOOD).toContain(from);
  return GOOD.replace(from, to);
};

test("a good recipe gets its defaults", () => {
  const result = parseRecipe(GOOD, "r.yaml");
  expect(result.ok && result.value.optimizer.betas).toEqual([0.9, 0.95]);
  expect(result.ok && result.value.watch.hang.factor).toBe(8);
});

test.each([
  ["unknown key", edit("  microBatch: 2", "  microbatchs: 2"), "RECIPE_UNKNOWN_KEY", 9, 3, "microBatch"],
  ["unknown key at the top", `${GOOD}optimiser: 3\n`, "RECIPE_UNKNOWN_KEY", 17, 1, "optimizer"],
  ["unknown key in a union", edit("  ep: 2", "  eep: 2"), "RECIPE_UNKNOWN_KEY", 16, 3, '"ep"'],
  ["wrong type", edit("steps: 10", "steps: ten"), "RECIPE_TYPE", 6, 5, "stages.0.steps"],
  ["wrong value", edit("kind: sft", "kind: stf"), "RECIPE_VALUE", 5, 5, '"sft"'],
  ["missing key", edit("  learningRate: 0.001", "  clip: 1"), "RECIPE_MISSING_KEY", 11, 1, "learningRate"],
  ["out of range", edit("steps: 10", "steps: 0"), "RECIPE_VALUE", 6, 5, ">=1"],
  ["impossible ep", edit("  ep: 2", "  ep: 3"), "RECIPE_LAYOUT", 16, 3, "ep 3"],
  ["impossible batch", edit("globalBatch: 8", "globalBatch: 6"), "RECIPE_LAYOUT", 10, 3, "globalBatch 6"],
  ["no tensor parallelism", `${GOOD}  tp: 2\n`, "RECIPE_LAYOUT", 17, 3, "tp must be 1"],
  [
    "micro-batches that do not interleave",
    `${edit("globalBatch: 8", "globalBatch: 12")}  vpp: 2\n  schedule: interleaved1f1b\n`,
    "RECIPE_LAYOUT",
    10,
    3,
    "multiples of pp 2, and a rank has 3",
  ],
  [
    "slots said twice",
    `${GOOD}  slotsPerRank: 6\nmoe:\n  spareSlots: 1\n`,
    "RECIPE_LAYOUT",
    19,
    3,
    "one of the two",
  ],
  ["no last steps", `${GOOD}moe:\n  biasLastFraction: 0\n`, "RECIPE_VALUE", 18, 3, ">0"],
  ["bad YAML", edit("model:", "model: ["), "RECIPE_YAML", 4, 1, "YAML"],
  ["a key twice", `${GOOD}name: again\n`, "RECIPE_YAML", 17, 1, "unique"],
])("%s: code, place and hint", (_name, text, code, line, column, words) => {
  const first = faults(text)[0];
  expect(first).toMatchObject({ code, place: { file: "r.yaml", line, column } });
  expect(first && renderError(first, "en")).toContain(words);
  expect(first && renderError(first, "zh")).not.toMatch(/\{\w+\}/);
  expect(first && renderError(first, "en")).not.toMatch(/\{\w+\}/);
});

test("all faults are told at once, in the order of the file", () => {
  const errors = faults(
    edit("kind: sft", "kind: sftt").replace("microBatch", "mBatch").replace("pp: 2", "pp: x"),
  );
  expect(errors.map((one) => one.code)).toEqual(["RECIPE_VALUE", "RECIPE_UNKNOWN_KEY", "RECIPE_TYPE"]);
});

test("no text makes the reader throw", () => {
  const words = [
    "name",
    "model",
    ":",
    " ",
    "\n",
    "  ",
    "- ",
    "{",
    "]",
    "&a",
    "*a",
    "!!x",
    "'",
    "\t",
    "1e9",
    "null",
  ];
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 4 })), { maxLength: 40 }),
      (parts) => {
        const result = parseRecipe(parts.join(""), "r.yaml");
        if (!result.ok) for (const one of result.error) expect(one.place.line).toBeGreaterThan(0);
      },
    ),
  );
});

test("the identity follows what was asked, not where or how it is written", () => {
  const at = (name: string, text: string, weights: string, label = "") => {
    mkdirSync(join(folder, name, "base"), { recursive: true });
    writeFileSync(join(folder, name, "base", "config.json"), weights);
    writeFileSync(join(folder, name, "r.yaml"), text);
    const loaded = loadRecipe(join(folder, name, "r.yaml"));
    if (!loaded.ok) throw new Error("bad");
    const id = recipeIdentity(loaded.value, label);
    if (!id.ok) throw id.error;
    return id.value;
  };
  const one = at("a", GOOD, "{}");
  expect(at("b", `# a comment\n${GOOD.replace("0.001", "1e-3")}seed: 17\n`, "{}")).toBe(one);
  expect(at("c", GOOD.replace("steps: 10", "steps: 11"), "{}")).not.toBe(one);
  expect(at("d", GOOD, '{"a":1}')).not.toBe(one);
  expect(at("e", GOOD, "{}", "again")).not.toBe(one);
});

test("a missing file and a missing model are told with their place", () => {
  const none = loadRecipe(join(folder, "nowhere.yaml"));
  expect(none.ok || none.error[0]?.code).toBe("RECIPE_FILE");
  writeFileSync(join(folder, "m.yaml"), GOOD.replace("base: base", "base: not-there"));
  const loaded = loadRecipe(join(folder, "m.yaml"));
  const id = loaded.ok && recipeIdentity(loaded.value);
  expect(id && !id.ok && id.error).toMatchObject({ code: "RECIPE_PATH", place: { line: 3 } });
});

test("edit distance: slow twin agrees", () => {
  const slow = (a: string, b: string): number => {
    if (!a || !b) return a.length + b.length;
    let best = Math.min(
      slow(a.slice(1), b) + 1,
      slow(a, b.slice(1)) + 1,
      slow(a.slice(1), b.slice(1)) + (a[0] === b[0] ? 0 : 1),
    );
    if (a.length > 1 && b.length > 1 && a[0] === b[1] && a[1] === b[0])
      best = Math.min(best, slow(a.slice(2), b.slice(2)) + 1);
    return best;
  };
  const word = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 5 });
  fc.assert(fc.property(word, word, (a, b) => editDistance(a, b) === slow(a, b)));
  expect(nearest("globalbatch", ["globalBatch", "microBatch"])).toBe("globalBatch");
  expect(nearest("zzz", ["globalBatch"])).toBeUndefined();
});

const ROOT = join(import.meta.dirname, "../../..");
test.each(["en", "zh"] as const)("docs/%s/recipe.md is current", (lang) => {
  expect(readFileSync(join(ROOT, "docs", lang, "recipe.md"), "utf8")).toBe(recipeReference(lang));
});

test("every key has its sentence in both languages", () => {
  const bare: string[] = [];
  const visit = (schema: ReturnType<typeof recipeJsonSchema>, path: string): void => {
    for (const [name, inner] of Object.entries(schema.properties ?? {})) {
      if (!inner.description) bare.push(`${path}.${name}`);
      visit(inner, `${path}.${name}`);
    }
    for (const inner of schema.anyOf ?? []) visit(inner, path);
    if (schema.items) visit(schema.items, path);
  };
  for (const lang of ["en", "zh"] as const) visit(recipeJsonSchema(lang), lang);
  expect(bare).toEqual([]);
});
