import fc from "fast-check";
import { expect, test } from "vitest";
import { languageOf } from "./classify.ts";
import { findLeaks } from "./decontaminate.ts";
import { features, findDuplicates, jaccard } from "./dedup.ts";
import { produceGeneral } from "./general/index.ts";
import { apportion, selectMix } from "./select.ts";

const BASE =
  "A workshop makes chairs and tables. Profit per unit: 12 for chairs and 7 for tables. Labour: 3 and 4, limit 120. Maximize the profit.";

test("exact and near duplicates go, other numbers stay", () => {
  const items = [
    BASE,
    BASE,
    BASE.replace("Maximize the profit.", "Maximize profit."),
    BASE.replace("12", "13"),
    "Something else with 12, 7, 3, 4 and 120 that only has the numbers in common with the first text.",
  ].map((text, i) => ({ id: `i${i}`, text }));
  expect(findDuplicates(items, { threshold: 0.7 })).toEqual([
    { at: 1, id: "i1", reason: "exact-duplicate", of: "i0" },
    { at: 2, id: "i2", reason: "near-duplicate", of: "i0" },
  ]);
});

test("finds what comparing every pair finds", () => {
  const vocabulary = ["red", "blue", "big", "small", "cat", "dog", "runs", "sleeps", "5", "7"];
  const text = fc.array(fc.constantFrom(...vocabulary), { minLength: 12, maxLength: 20 });
  // Pairs of a text and a copy with one word changed lie around the threshold, the interesting place.
  const family = fc
    .tuple(text, fc.nat(), fc.constantFrom(...vocabulary))
    .map(([words, at, other]) => [words.join(" "), words.with(at % words.length, other).join(" ")]);
  let expected = 0;
  let found = 0;
  fc.assert(
    fc.property(fc.array(family, { minLength: 1, maxLength: 8 }), (families) => {
      const items = families.flat().map((each, i) => ({ id: `i${i}`, text: each }));
      const got = findDuplicates(items, { threshold: 0.7 });
      const kept: number[] = [];
      const brute = items.flatMap((item, i) => {
        const twin = kept.some(
          (j) =>
            items[j]?.text === item.text ||
            jaccard(features(item.text), features(items[j]?.text ?? "")) >= 0.7,
        );
        if (!twin) kept.push(i);
        return twin ? [i] : [];
      });
      // Never one too many; one too few only where MinHash missed (counted below).
      if (got.length === brute.length) expect(got.map(({ at }) => at)).toEqual(brute);
      expected += brute.length;
      found += got.length;
    }),
    { numRuns: 200, seed: 1 },
  );
  expect(expected).toBeGreaterThan(200);
  expect(found / expected).toBeGreaterThan(0.99);
});

test("a leak is found by parameters and by shared text, a stock phrase is none", () => {
  const stock = "alpha beta gamma delta epsilon 1 2 3 zeta eta theta iota kappa";
  const held = [
    { id: "h1", problem: `${stock} one`, parametersHash: "p1" },
    {
      id: "h2",
      problem: "a farm of 4 fields grows 7 sorts on 9 acres with 3 men and 2 oxen",
      parametersHash: "p2",
    },
  ];
  const train = [
    { id: "t1", problem: "quite other words", parametersHash: "p1" },
    {
      id: "t2",
      problem: "we know a farm of 4 fields grows 7 sorts on 9 acres with luck",
      parametersHash: "p3",
    },
    ...Array.from({ length: 20 }, (_each, i) => ({
      id: `s${i}`,
      problem: `${stock} other ${i}`,
      parametersHash: `q${i}`,
    })),
  ];
  const leaks = findLeaks(train, held, { n: 10, numbers: 3, documentLimit: 10 });
  expect(leaks).toEqual([
    { id: "t1", reason: "same-parameters", of: "h1" },
    { id: "t2", reason: "shared-text", of: "h2" },
  ]);
});

test("apportioned counts sum up and follow the weights", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 1, maxLength: 12 }),
      fc.nat(500),
      (weights, count) => {
        const total = weights.reduce((sum, each) => sum + each, 0);
        const out = apportion(weights, count);
        expect(out.reduce((sum, each) => sum + each, 0)).toBe(total === 0 ? 0 : count);
        out.forEach((each, i) => {
          if (total > 0) expect(Math.abs(each - ((weights[i] as number) / total) * count)).toBeLessThan(1);
        });
      },
    ),
  );
});

test("selection keeps the mix, takes turns over wordings and fills the gaps of small cells", () => {
  const items = Array.from({ length: 200 }, (_each, i) => ({
    id: `i${i}`,
    family: i < 190 ? "a" : "b",
    difficulty: 1,
    language: "en",
    wording: `w${i % 19}`,
  }));
  const { chosen, cells } = selectMix(items, 40, {}, 3);
  expect(chosen.length).toBe(40);
  expect(cells).toEqual([
    { cell: "a/1/en", wanted: 20, had: 190, taken: 30 },
    { cell: "b/1/en", wanted: 20, had: 10, taken: 10 },
  ]);
  const times = new Map<string, number>();
  for (const { family, wording } of chosen)
    if (family === "a") times.set(wording, (times.get(wording) ?? 0) + 1);
  expect(Math.max(...times.values()) - Math.min(...times.values())).toBeLessThanOrEqual(1);
  expect(selectMix(items, 40, { families: { b: 1 } }, 3).chosen.every(({ family }) => family === "b")).toBe(
    true,
  );
});

test("language is read off the text", () => {
  expect(languageOf("A bakery makes cakes.")).toBe("en");
  expect(languageOf("一家麵包店 makes 蛋糕。")).toBe("zh");
  expect(languageOf("12 + 3")).toBe("en");
});

test("general text is seeded, distinct, split by content and holds none of the answer format", () => {
  const train = produceGeneral({ seed: 5, count: 2000, split: "train" });
  const held = produceGeneral({ seed: 5, count: 100, split: "heldout" });
  expect(produceGeneral({ seed: 5, count: 2000, split: "train" })).toEqual(train);
  const ids = new Set(train.map(({ id }) => id));
  expect(ids.size).toBe(2000);
  expect(held.filter(({ id }) => ids.has(id))).toEqual([]);
  const answerFormat = /^(max|min|st|gen|bin|end)\b/m;
  expect(train.filter(({ text, prompt }) => answerFormat.test(text) || answerFormat.test(prompt))).toEqual(
    [],
  );
  expect(
    train.filter(
      ({ language, text, prompt }) =>
        languageOf(prompt + text) !== language && /\p{L}{3}/u.test(prompt + text),
    ),
  ).toEqual([]);
});
