import { beforeAll, expect, test } from "vitest";
import { judge, judgeSolution, type Rejection } from "./gate.ts";
import { parseLp } from "./lp.ts";
import { Solver } from "./solver.ts";

let solver: Solver;
beforeAll(async () => {
  solver = await Solver.open();
});

const GOOD = "max 5 x1 + 7 x2\nst\n2 x1 + 3 x2 <= 20\nend\n";
const WORDS = "Profits 5 and 7, use 2 and 3, limit 20.";

test("a sound problem passes with its optimum", async () => {
  expect(await judge({ problem: WORDS, answer: GOOD, labels: [] }, solver)).toEqual({
    ok: true,
    objective: 50,
  });
});

const REJECTED: readonly [Rejection, string, string][] = [
  ["unparsable", WORDS, "max 5 x1 + 7 x2\n2 x1 + 3 x2 <= 20\nend\n"],
  ["not-canonical", WORDS, GOOD.replace("max", "maximize")],
  ["infeasible", "5 2 20 10", "max 5 x1\nst\n2 x1 <= 10\nx1 >= 20\nend\n"],
  ["unbounded", "5 2 20", "max 5 x1\nst\n2 x1 >= 20\nend\n"],
  ["zero-objective", "5 2 20", "min 5 x1\nst\n2 x1 <= 20\nend\n"],
  ["nothing-binds", "5 7 2 20 3 1", "max 5 x1 + 7 x2\nst\n2 x1 + 2 x2 <= 20\nbin x1 x2\nend\n"],
  ["number-missing", "Profits 5 and 7, use 2, limit 20.", GOOD],
  ["number-unused", `${WORDS} There are 99 days.`, GOOD],
];

test.each(REJECTED)("rejects %s", async (reason, problem, answer) => {
  expect(await judge({ problem, answer, labels: [1, 3] }, solver)).toMatchObject({ ok: false, reason });
});

test("numbers that only label are allowed when they are declared", async () => {
  const words = `${WORDS} There are 99 days.`;
  expect((await judge({ problem: words, answer: GOOD, labels: [99] }, solver)).ok).toBe(true);
});

test("a solver that lies is found out by recomputing", () => {
  const parsed = parseLp(GOOD);
  if (!parsed.ok) throw new Error("no model");
  const lie = (values: Record<string, number>, objective: number) =>
    judgeSolution(parsed.value, { status: "optimal", objective, values });
  expect(lie({ x1: 10, x2: 0 }, 50).ok).toBe(true);
  expect(lie({ x1: 10, x2: 0 }, 51)).toMatchObject({ reason: "solution-disagrees" });
  expect(lie({ x1: 20, x2: 0 }, 100)).toMatchObject({ reason: "solution-disagrees" });
  expect(lie({ x1: 11.5, x2: -1 }, 50.5)).toMatchObject({ reason: "solution-disagrees" });
  expect(lie({ x1: 10 }, 50)).toMatchObject({ reason: "solution-disagrees" });
});

test("an abort of the module is an error of that text only", async () => {
  const before = solver.restarts;
  expect(await solver.solve("max x[0,1]\nst\nx[0,1] <= 3\nend\n")).toMatchObject({ status: "error" });
  expect(solver.restarts).toBe(before + 1);
  expect(await solver.solve(GOOD)).toMatchObject({ status: "optimal", objective: 50 });
});
