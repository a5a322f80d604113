import { describe, expect, test } from "vitest";
import { Random, unwrap } from "../base/index.ts";
import { compareOutcomes } from "./compare.ts";
import { decideGate, DEFAULT_POLICY } from "./gate.ts";
import { compareRetention, type RowLoss } from "./retention.ts";
import { scoreAnswers } from "./score.ts";
import type { Item, Outcome, Verdict } from "./types.ts";

const item = (id: string, extra: Partial<Item> = {}): Item => ({
  id,
  prompt: `p ${id}`,
  problem: `problem ${id}`,
  reference: "",
  family: "knapsack",
  language: "en",
  difficulty: "1",
  status: "optimal",
  objective: 1,
  ...extra,
});
const outcome = (id: string, verdict: Verdict): Outcome => ({
  id,
  text: "",
  tokens: 1,
  finished: true,
  verdict,
  reason: "",
  objective: null,
});
/** n items of which the first `base` are right before and those from `from` on (`candidate` of them) after. */
const pair = (n: number, base: number, candidate: number, from = 0) => {
  const items = Array.from({ length: n }, (_, i) => item(`q${i}`));
  return {
    items,
    base: items.map((one, i) => outcome(one.id, i < base ? "correct" : "wrong")),
    candidate: items.map((one, i) =>
      outcome(one.id, i >= from && i < from + candidate ? "correct" : "unparsable"),
    ),
  };
};
const compare = (n: number, base: number, candidate: number, from = 0) => {
  const data = pair(n, base, candidate, from);
  return unwrap(compareOutcomes(data.items, data.base, data.candidate));
};
const code = (result: { ok: boolean; error?: { code: string } }) => (result.ok ? "ok" : result.error?.code);

describe("comparing outcomes", () => {
  test("counts, flips and groups add up", () => {
    const items = [
      item("a", { family: "diet", difficulty: "10" }),
      item("b", { family: "diet", language: "zh", difficulty: "2" }),
      item("c"),
      item("d"),
    ];
    const base = ["wrong", "correct", "unsolved", "correct"].map((v, i) =>
      outcome("abcd"[i] ?? "", v as Verdict),
    );
    const candidate = ["correct", "wrong", "correct", "correct"].map((v, i) =>
      outcome("abcd"[i] ?? "", v as Verdict),
    );
    const result = unwrap(compareOutcomes(items, base, candidate.toReversed()));
    expect(result.flips).toEqual({ gained: ["a", "c"], lost: ["b"] });
    expect(result.overall).toMatchObject({
      n: 4,
      gained: 2,
      lost: 1,
      base: { value: 0.5 },
      candidate: { value: 0.75 },
    });
    expect(result.overall.difference.value).toBe(0.25);
    expect(result.groups.family.map((group) => [group.key, group.n])).toEqual([
      ["diet", 2],
      ["knapsack", 2],
    ]);
    expect(result.groups.difficulty.map((group) => group.key)).toEqual(["1", "2", "10"]);
    expect(result.groups.language.map((group) => group.key)).toEqual(["en", "zh"]);
    expect(result.verdicts.base).toEqual({ correct: 2, wrong: 1, unparsable: 0, unsolved: 1 });
  });

  test("refuses sets that are not about the same items", () => {
    const { items, base, candidate } = pair(3, 1, 2);
    const twice = [...base, base[0] as Outcome];
    expect(code(compareOutcomes([], [], []))).toBe("EVAL_NO_ITEMS");
    expect(code(compareOutcomes(items, base.slice(1), candidate))).toBe("EVAL_MISSING");
    expect(code(compareOutcomes(items, base, [...candidate, outcome("x", "correct")]))).toBe("EVAL_UNKNOWN");
    expect(code(compareOutcomes(items, twice, candidate))).toBe("EVAL_DUPLICATE");
    expect(code(compareOutcomes([...items, item("q0")], base, candidate))).toBe("EVAL_DUPLICATE");
    expect(code(compareOutcomes([item("a", { objective: Number.NaN })], base, base))).toBe("EVAL_NUMBER");
  });

  test("scores every answer with the checker, in the order of the items", async () => {
    const items = [item("a", { objective: 3 }), item("b", { objective: 4 })];
    const answers = ["b", "a"].map((id) => ({ id, text: "3", tokens: 1, finished: true }));
    const seen: number[] = [];
    const outcomes = unwrap(
      await scoreAnswers(
        items,
        answers,
        (one, text) => ({
          verdict: Number(text) === one.objective ? "correct" : "wrong",
          reason: "",
          objective: Number(text),
        }),
        (done) => seen.push(done),
      ),
    );
    expect(outcomes.map((one) => [one.id, one.verdict])).toEqual([
      ["a", "correct"],
      ["b", "wrong"],
    ]);
    expect(seen).toEqual([1, 2]);
  });
});

describe("retention", () => {
  const rows = (factor: (i: number) => number, n = 80, seed = 1): RowLoss[] => {
    const random = new Random(seed);
    return Array.from({ length: n }, (_, i) => {
      const tokens = random.int(50, 400);
      return { id: `r${i}`, tokens, nll: tokens * (2 + 0.3 * random.normal()) * factor(i) };
    });
  };
  const noise = new Random(9);
  const base = rows(() => 1);
  const worse = base.map((row) => ({ ...row, nll: row.nll + row.tokens * (0.05 + 0.08 * noise.normal()) }));

  test("agrees with a paired bootstrap over rows", () => {
    const { ratio } = unwrap(compareRetention(base, worse));
    const random = new Random(3);
    const ratios: number[] = [];
    for (let draw = 0; draw < 4000; draw++) {
      let change = 0;
      let tokens = 0;
      for (let i = 0; i < base.length; i++) {
        const at = random.int(0, base.length - 1);
        change += (worse[at] as RowLoss).nll - (base[at] as RowLoss).nll;
        tokens += (base[at] as RowLoss).tokens;
      }
      ratios.push(Math.exp(change / tokens));
    }
    ratios.sort((a, b) => a - b);
    expect(ratio.low).toBeCloseTo(ratios[100] as number, 2);
    expect(ratio.high).toBeCloseTo(ratios[3899] as number, 2);
  });

  test("its interval covers the truth in about 95 % of simulated repetitions", () => {
    const random = new Random(11);
    let covered = 0;
    const rounds = 800;
    for (let round = 0; round < rounds; round++) {
      const before = rows(() => 1, 30, round);
      const after = before.map((row) => ({
        ...row,
        nll: row.nll + row.tokens * (0.02 + 0.1 * random.normal()),
      }));
      const { ratio } = unwrap(compareRetention(before, after));
      if (ratio.low <= Math.exp(0.02) && Math.exp(0.02) <= ratio.high) covered++;
    }
    expect(covered / rounds).toBeGreaterThan(0.92);
    expect(covered / rounds).toBeLessThan(0.975);
  });

  test("perplexities are of all tokens together", () => {
    const one = [
      { id: "a", nll: 10, tokens: 10 },
      { id: "b", nll: 60, tokens: 20 },
    ];
    const result = unwrap(compareRetention(one, one));
    expect(result.basePerplexity).toBeCloseTo(Math.exp(70 / 30), 12);
    expect(result.ratio).toEqual({ value: 1, low: 1, high: 1 });
  });

  test("bad rows are coded errors", () => {
    const good = { id: "a", nll: 1, tokens: 2 };
    expect(code(compareRetention([], []))).toBe("EVAL_NO_ITEMS");
    expect(code(compareRetention([good], []))).toBe("EVAL_MISSING");
    expect(code(compareRetention([good], [good, { ...good, id: "b" }]))).toBe("EVAL_UNKNOWN");
    expect(code(compareRetention([good], [{ ...good, nll: Number.NaN }]))).toBe("EVAL_NUMBER");
    expect(code(compareRetention([good], [{ ...good, tokens: 3 }]))).toBe("EVAL_NUMBER");
    expect(code(compareRetention([good, good], [good]))).toBe("EVAL_DUPLICATE");
  });
});

describe("gate", () => {
  const kept = {
    rows: 9,
    tokens: 9,
    basePerplexity: 9,
    candidatePerplexity: 9,
    ratio: { value: 1, low: 0.99, high: 1.02 },
  };
  const retention = (low: number, high: number) => ({
    ...kept,
    ratio: { value: (low + high) / 2, low, high },
  });

  test("passes only on two clear yeses", () => {
    expect(decideGate(compare(200, 20, 100), kept).verdict).toBe("passed");
    expect(decideGate(compare(200, 20, 100), null)).toMatchObject({ verdict: "inconclusive" });
    expect(decideGate(null, kept)).toMatchObject({ verdict: "inconclusive" });
    expect(decideGate(compare(200, 20, 100), retention(1.02, 1.2)).verdict).toBe("inconclusive");
    expect(decideGate(compare(200, 20, 100), retention(1.06, 1.2)).verdict).toBe("refused");
    expect(decideGate(compare(200, 20, 100), retention(Number.NaN, Number.NaN)).verdict).toBe("inconclusive");
  });

  test("says why an effect does not pass", () => {
    const why = (...counts: [number, number, number, number?]) =>
      decideGate(compare(...counts), kept).checks[0];
    expect(why(200, 100, 20)).toMatchObject({ verdict: "refused", reason: "worse" });
    expect(why(20, 2, 20)).toMatchObject({ verdict: "inconclusive", reason: "tooFew" });
    // 40 flips among 200 items, 20 each way: five points could not have shown.
    expect(why(200, 100, 100, 20)).toMatchObject({ verdict: "inconclusive", reason: "underPowered" });
    // 40 flips among 5,000: they could.
    expect(why(5000, 100, 100, 20)).toMatchObject({ verdict: "refused", reason: "noEffect" });
  });

  test("a model that did not change is let through in no more than 2.5 % of repetitions", () => {
    const random = new Random(21);
    let passed = 0;
    const rounds = 600;
    for (let round = 0; round < rounds; round++) {
      const items = Array.from({ length: 200 }, (_, i) => item(`q${i}`));
      const draw = () =>
        items.map((one, i) => outcome(one.id, random.next() < 0.2 + 0.5 * (i / 200) ? "correct" : "wrong"));
      const result = unwrap(compareOutcomes(items, draw(), draw()));
      if (decideGate(result, kept, DEFAULT_POLICY).verdict === "passed") passed++;
    }
    expect(passed / rounds).toBeLessThan(0.04);
  });
});
