import { expect, test } from "vitest";
import { measureClasses } from "../../data/index.ts";
import { FAMILIES } from "./families/index.ts";
import { parseLp, variablesOf } from "./lp.ts";
import { draftAt, gateDrafts, type Unproven } from "./produce.ts";
import { Solver } from "./solver.ts";

const draft = (from: number, count: number, difficulty?: 1 | 2 | 3): Unproven[] => {
  const difficulties = difficulty
    ? ([1, 2, 3].map((each) => (each === difficulty ? 1 : 0)) as [number, number, number])
    : undefined;
  return Array.from({ length: count }, (_each, i) => draftAt(from + i, { seed: 4, difficulties }));
};

test("there are twelve families, in both languages, each with many wordings", () => {
  expect(FAMILIES.length).toBe(12);
  const all = draft(0, 2400);
  for (const { name } of FAMILIES) {
    for (const language of ["en", "zh"]) {
      const own = all.filter((each) => each.family === name && each.language === language);
      expect(new Set(own.map(({ wording }) => wording)).size, `${name} ${language}`).toBeGreaterThan(40);
    }
  }
});

test("a draft is the same whenever it is made, another seed makes another", () => {
  expect(draft(100, 24)).toEqual(draft(100, 24));
  expect(draftAt(7, { seed: 1 }).problem).not.toBe(draftAt(7, { seed: 2 }).problem);
});

test("difficulty is size: every family grows from level to level", () => {
  const sizeOf = (each: Unproven) => {
    const parsed = parseLp(each.answer);
    return parsed.ok ? variablesOf(parsed.value).length + parsed.value.rows.length : Number.NaN;
  };
  for (const { name } of FAMILIES) {
    const [one, two, three] = ([1, 2, 3] as const).map((level) => {
      const sizes = draft(0, 360, level)
        .filter(({ family }) => family === name)
        .map(sizeOf);
      return sizes.reduce((sum, each) => sum + each, 0) / sizes.length;
    });
    expect(one, name).toBeLessThan(two as number);
    expect(two, name).toBeLessThan(three as number);
  }
});

test("at least nine of ten drafts of every family pass the gate", async () => {
  const drafts = draft(0, 480);
  const { accepted, rejected } = await gateDrafts(drafts, await Solver.open());
  expect(accepted.length + rejected.length).toBe(drafts.length);
  for (const { name } of FAMILIES) {
    const passed = accepted.filter(({ family }) => family === name).length;
    expect(passed / (passed + rejected.filter(({ family }) => family === name).length), name).toBeGreaterThan(
      0.9,
    );
  }
  expect(rejected.every(({ reason }) => reason.length > 0)).toBe(true);
});

test("text alone tells family, language and, nearly always, difficulty", () => {
  const all = draft(0, 1800).map((each, i) => ({ ...each, id: `i${i}` }));
  const accuracy = measureClasses(all.slice(0, 1440), all.slice(1440));
  expect(accuracy.measuredOn).toBe(360);
  expect(accuracy.family).toBeGreaterThan(0.99);
  expect(accuracy.language).toBe(1);
  expect(accuracy.difficulty).toBeGreaterThan(0.95);
});
