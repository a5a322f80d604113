import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { Random } from "../../base/index.ts";
import { plainNames, readB4o, solveB4o } from "./b4o.ts";
import { AnswerChecker } from "./check.ts";
import { SolverPool } from "./pool.ts";

const checker = new AnswerChecker({ threads: 1, timeLimitSeconds: 5 });
const folder = mkdtempSync(join(tmpdir(), "tessera-b4o-"));
afterAll(async () => {
  await checker.close();
  rmSync(folder, { recursive: true, force: true });
});
const expected = { objective: 50, status: "optimal" };

test("correct is what reaches the optimum, however it is written", async () => {
  for (const text of [
    "max 5 x1 + 7 x2\nst\n2 x1 + 3 x2 <= 20\nend\n",
    "max 5 x1 + 7 x2\nst\n2 x1 + 3 x2 <= 20\nend\n<|end|><|pad|>",
    "Maximize\n obj: 7 b + 5 a\nSubject To\n cap: 4 a + 6 b <= 40\nEnd",
  ]) {
    expect(await checker.check(text, expected)).toEqual({ verdict: "correct", objective: 50 });
  }
  expect(await checker.check("max x1\nst\nx1 <= 50.00004\nend", expected)).toMatchObject({
    verdict: "correct",
  });
  expect(await checker.check("max x1\nst\nx1 <= 50.0001\nend", expected)).toMatchObject({ verdict: "wrong" });
});

test("wrong, unparsable and unsolved are told apart, with a reason", async () => {
  expect(await checker.check("max 5 x1 + 7 x2\nst\n2 x1 + 4 x2 <= 30\nend\n", expected)).toEqual({
    verdict: "wrong",
    objective: 75,
    reason: "optimum 75, expected 50",
  });
  expect(await checker.check("I think it is 50.", expected)).toMatchObject({
    verdict: "unparsable",
    reason: /line 1/,
  });
  expect(await checker.check("", expected)).toMatchObject({ verdict: "unparsable" });
  expect(await checker.check("max x1\nst\nx1 >= 2\nend", expected)).toMatchObject({
    verdict: "unsolved",
    status: "unbounded",
  });
  expect(await checker.check("max x1\nst\nx1 >= 2\nx1 <= 1\nend", expected)).toMatchObject({
    verdict: "unsolved",
    status: "infeasible",
  });
  expect(
    await checker.check("max x1\nst\nx1 >= 2\nx1 <= 1\nend", { objective: 0, status: "infeasible" }),
  ).toMatchObject({ verdict: "correct" });
});

test("many answers at once keep their own verdicts", async () => {
  const verdicts = await Promise.all(
    Array.from({ length: 60 }, (_each, i) => checker.check(`max x1\nst\nx1 <= ${i + 20}\nend`, expected)),
  );
  expect(verdicts.filter(({ verdict }) => verdict === "correct").length).toBe(1);
  expect(verdicts[30]).toMatchObject({ verdict: "correct" });
});

test("a text that takes too long is ended, and the next is solved", async () => {
  const pool = new SolverPool({ threads: 1, timeLimitSeconds: 0.5 });
  try {
    // Market split: small equality knapsacks with no structure, hard for branch and bound.
    const random = new Random(5);
    const rows = Array.from({ length: 6 }, () => {
      const weights = Array.from({ length: 50 }, () => random.int(1, 99));
      const half = Math.floor(weights.reduce((sum, each) => sum + each, 0) / 2);
      return { text: weights.map((weight, i) => `${weight} x${i}`).join(" + "), half };
    });
    const lines = rows.map(({ text, half }, k) => `${text} + a${k} - b${k} = ${half}`);
    const objective = rows.map((_row, k) => `a${k} + b${k}`).join(" + ");
    const binaries = Array.from({ length: 50 }, (_each, i) => `x${i}`).join(" ");
    const hard = `min ${objective}\nst\n${lines.join("\n")}\nbin ${binaries}\nend\n`;
    expect((await pool.solve(hard)).status).toBe("limit");
    expect(await pool.solve("max x1\nst\nx1 <= 3\nend\n")).toMatchObject({ status: "optimal", objective: 3 });
  } finally {
    await pool.close();
  }
});

test("indexed names become plain, quadratic parts stay", () => {
  expect(plainNames("max 2 x[0,1] + 3 y[a] + [ 2 z * z ]\nst\n x[0,1] + v1 <= 3")).toBe(
    "max 2 vv0 + 3 vv1 + [ 2 z * z ]\nst\n vv0 + v1 <= 3",
  );
});

test("a B4O folder is solved, and what is not reproduced is named with the reason", async () => {
  mkdirSync(join(folder, "lp"));
  const problems = [
    ["a", 3, "max x[0]\nst\nx[0] <= 3\nend\n"],
    ["b", 4, "max x[0]\nst\nx[0] <= 3\nend\n"],
    ["c", 4, "Maximize\n x\nSubject To\n q: [ x * y ] <= 3\nEnd\n"],
  ] as const;
  for (const [id, , text] of problems) writeFileSync(join(folder, "lp", `${id}.lp`), text);
  const lines = [...problems, ["d", 1, ""] as const].map(([id, optimum]) =>
    JSON.stringify({ id, problem: "p", optimal_value: optimum, reference_lp_path: `lp/${id}.lp` }),
  );
  writeFileSync(join(folder, "test.jsonl"), `${lines.join("\n")}\n`);
  const outcomes = await solveB4o(folder);
  expect(outcomes.map(({ id, outcome }) => `${id} ${outcome}`)).toEqual([
    "a reproduced",
    "b differs",
    "c unsolved",
    "d unsolved",
  ]);
  expect(outcomes[2]).toMatchObject({ reason: expect.stringContaining("products of variables") });
  expect(outcomes[3]).toMatchObject({ reason: "the LP file is missing" });
});

test("a B4O folder that is none, or leads outside, is refused", () => {
  expect(() => readB4o(join(folder, "nowhere"))).toThrow(/OR_B4O_PATH/);
  const other = mkdtempSync(join(folder, "other-"));
  writeFileSync(
    join(other, "test.jsonl"),
    '{"id":"a","problem":"p","optimal_value":1,"reference_lp_path":"../../etc/passwd"}\n',
  );
  expect(() => readB4o(other)).toThrow(/leads out of the folder/);
});
