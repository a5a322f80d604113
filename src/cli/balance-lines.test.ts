import { expect, test } from "vitest";
import type { BalanceMessage, JournalEvent } from "../run/index.ts";
import { EMPTY, replay } from "../run/index.ts";
import { MOVED } from "../run/journal/testing/moved.ts";
import { balanceLines } from "./balance-lines.ts";
import { makeContext } from "./context.ts";

const now = {
  v: 1,
  kind: "balance",
  run: "r",
  rank: -1,
  step: 60,
  t: 0,
  attempt: 1,
  layers: [2, 3],
  realised: [1.1, 1.03],
  bound: [1.05, 1.01],
  planned: [1.07, null],
  noiseFloor: [1, 1],
  maxVio: [0.4, 0.9],
  cv: [0.3, 0.2],
  entropy: [0.9, 0.95],
  deadExperts: [1, 2],
  droppedRows: 0,
  allToAllSeconds: null,
  line: { en: "no move: within the noise", zh: "不搬動：在雜訊之內" },
} satisfies BalanceMessage;

const moved: JournalEvent[] = [
  ...MOVED,
  {
    t: 4,
    kind: "memoryForecast",
    attempt: 1,
    step: 40,
    action: "advise",
    line: { en: "too much", zh: "太多" },
    forecastBytes: 2,
    budgetBytes: 1,
  },
];

const contextIn = (lang: "en" | "zh") => makeContext({ lang, json: false, quiet: true }, process);

test("status tells how even ranks are, the last decision, and what moves brought", () => {
  expect(balanceLines(contextIn("en"), replay(moved).balance, 60, now)).toEqual([
    "  experts: busiest rank 1.100 of the mean in layer 2 (bound 1.050, ratio 1.048, planned 1.070); MaxVio 0.90, 3 dead, 0 tokens dropped",
    "  ⇄ no move: within the noise",
    "    1 moves: 3.91 KiB in 1.20 s; won 14.1 s so far, forecast 18.5 s",
    "  ! too much",
  ]);
  const chinese = balanceLines(contextIn("zh"), replay(moved).balance, 60, now);
  expect(chinese[0]).toContain("第 2 層最忙進程為平均的 1.100");
  expect(chinese[1]).toBe("  ⇄ 不搬動：在雜訊之內");
});

test("a run without experts has no such lines", () => {
  expect(balanceLines(contextIn("en"), EMPTY.balance, 0, undefined)).toEqual([]);
});
