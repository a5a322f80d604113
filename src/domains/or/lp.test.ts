import fc from "fast-check";
import { expect, test } from "vitest";
import { LP_LIMITS, type LpModel, parseLp, type Row, type Term, term, writeLp } from "./lp.ts";

const variable = fc
  .tuple(fc.constantFrom("x", "y", "s"), fc.integer({ min: 1, max: 44 }))
  .map(([letter, i]) => `${letter}${i}`);
const number = fc.oneof(
  fc.integer({ min: 0, max: 999 }),
  fc.integer({ min: 1, max: 9999 }).map((each) => each / 100),
);
const anyTerm: fc.Arbitrary<Term> = fc.record({
  sign: fc.constantFrom<1 | -1>(1, -1),
  coefficient: fc.option(number, { nil: null }),
  variable,
});
const terms = fc.array(anyTerm, { minLength: 1, maxLength: 6 });
const row: fc.Arbitrary<Row> = fc.record({
  terms,
  relation: fc.constantFrom("<=" as const, ">=" as const, "=" as const),
  bound: fc.oneof(
    number,
    number.map((each) => (each === 0 ? 0 : -each)),
  ),
});
const names = fc.uniqueArray(variable, { maxLength: 4 });
const model: fc.Arbitrary<LpModel> = fc.record({
  sense: fc.constantFrom("max" as const, "min" as const),
  objective: terms,
  rows: fc.array(row, { minLength: 1, maxLength: 6 }),
  integers: names,
  binaries: names,
});

test("what is written is read", () => {
  fc.assert(
    fc.property(model, (each) => {
      expect(parseLp(writeLp(each))).toEqual({ ok: true, value: each });
    }),
  );
});

test("any text is either a model or refused with a code, never a crash", () => {
  const piece = fc.constantFrom(
    "max ",
    "min ",
    "st\n",
    "end",
    "gen ",
    "bin ",
    "x1",
    " + ",
    " - ",
    "<= ",
    "= ",
    "3",
    ".",
    "\n",
    ":",
    "e5",
    "[",
    "bounds\n",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ maxLength: 60 }),
        fc.array(piece, { maxLength: 30 }).map((all) => all.join("")),
      ),
      (text) => {
        const parsed = parseLp(text);
        if (parsed.ok) expect(parseLp(writeLp(parsed.value))).toEqual(parsed);
        else expect(parsed.error.code).toMatch(/^OR_LP_/);
      },
    ),
    { numRuns: 2000 },
  );
});

test("the wider format of other models is read as the same model", () => {
  const wide = parseLp(`\\ a comment
Maximize
 profit: 5 x1 + 7 x2
Subject To
 c1: 2 x1 + 3 x2 =< 20
Bounds
 0 <= x1 <= 4
 x2 >= 1
Generals
 x1
End`);
  expect(wide.ok && writeLp(wide.value)).toBe(
    "max 5 x1 + 7 x2\nst\n2 x1 + 3 x2 <= 20\nx1 >= 0\nx1 <= 4\nx2 >= 1\ngen x1\nend\n",
  );
});

test.each([
  ["max 5 x1\nst\nx1 <= 3\n", "end of text"],
  ["max 5 x1\nst\nend\n", "end of text"],
  ["5 x1\nst\nx1 <= 3\nend", "5"],
  ["max 5\nst\nx1 <= 3\nend", "st"],
  ["max 5 x1 x2\nst\nx1 <= 3\nend", "x2"],
  ["max 5 x1\nst\nx1 <= \nend", "end"],
  ["max 5 x1\nst\nx1 <= 3 x2\nend", "x2"],
  ["max 5 x1\nst\n[ x1 * x2 ] <= 3\nend", "["],
  ["max 5 e1\nst\ne1 <= 3\nend", "e1"],
  ["max 5 x1\nst\nx1 <= 3\nfree x1\nend", "free"],
  ["max 5 x1\nst\nx1 <= 1e9\nend", "e9"],
  ["max 5 x1\nst\nx1 <= 3\nend\nmore", "more"],
])("refuses %j at %s", (text, found) => {
  const parsed = parseLp(text);
  expect(parsed.ok).toBe(false);
  if (!parsed.ok) expect(parsed.error.params["found"]).toBe(found);
});

test("says where", () => {
  const parsed = parseLp("max 5 x1\nst\n2 x1 ?? 3\nend");
  expect(!parsed.ok && parsed.error.place).toEqual({ line: 3, column: 6 });
});

test("sizes are bounded", () => {
  const wide = (count: number) => Array.from({ length: count }, (_each, i) => `x${i}`).join(" + ");
  for (const text of [
    "x".repeat(LP_LIMITS.characters + 1),
    `max ${wide(LP_LIMITS.variables + 1)}\nst\nx1 <= 3\nend`,
    `max x1\nst\n${"x1 <= 3\n".repeat(LP_LIMITS.rows + 1)}end`,
    "max x1\nst\nx1 <= 1234567890123\nend",
  ]) {
    const parsed = parseLp(text);
    expect(!parsed.ok && parsed.error.code).toBe("OR_LP_SIZE");
  }
});

test("a negative number becomes a sign", () => {
  expect(term("x1", -4)).toEqual({ sign: -1, coefficient: 4, variable: "x1" });
});
