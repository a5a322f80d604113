import { expect, test } from "vitest";
import { digestAt, MOVED_ONCE } from "../run/balancing/testing/decided.ts";
import { EMPTY, type JournalEvent, replay } from "../run/index.ts";
import { balanceLines } from "./balance-lines.ts";
import { loadMap } from "./balance-picture.ts";
import { makeContext } from "./context.ts";

const tight: JournalEvent = {
  t: 4,
  kind: "memoryForecast",
  attempt: 1,
  step: 40,
  action: "advise",
  line: { en: "too much", zh: "太多" },
  forecastBytes: 2,
  budgetBytes: 1,
};
const loads = new Map([
  [3, [100, 0, 50, 250]],
  [2, [1, 1, 1, 1]],
]);

const contextIn = (lang: "en" | "zh") => makeContext({ lang, json: false, quiet: true }, process);

test("status tells how even ranks are, what the all-to-all took, the last decision, and what moves brought", () => {
  const { balance } = replay([...MOVED_ONCE, tight]);
  expect(balanceLines(contextIn("en"), balance, 61, digestAt(61), loads)).toEqual([
    "  experts: busiest rank 1.100 of the mean in layer 2 (bound 1.050, ratio 1.048, planned -); MaxVio 0.90, CV 0.30, router entropy 0.900 of 1, 3 dead, 0 tokens dropped",
    "  all-to-all of a step: 100 ms to 200 ms (rank 3), median 125 ms; rows: 50 % stay on their rank, 30 % go inside a node, 20 % over the network",
    "  all-to-all link by link, step 51: own rank 10 % at 50.0 GiB/s, inside a node 30 % at 50.0 MiB/s, network –, waiting for other ranks and sorting rows 60 %",
    "  load of experts by layer: ▄ the mean, █ twice the mean or more, · none",
    "       2 │▄▄▄▄│",
    "       3 │▄·▂█│",
    "  ⇄ move 4 experts <here>",
    "    moved 1 times: 3.91 KiB in 1.20 s; won 14.5 s so far, forecast 19.0 s",
    "  ! too much",
  ]);
  const chinese = balanceLines(contextIn("zh"), balance, 61, digestAt(61));
  expect(chinese[0]).toContain("第 2 層最忙進程為平均的 1.100");
  expect(chinese[1]).toContain("50 % 留在原進程，30 % 在節點內，20 % 經網路");
  expect(chinese[2]).toContain("本進程 10 %（50.0 GiB/s），節點內 30 %（50.0 MiB/s），網路 –，");
  expect(chinese[3]).toBe("  ⇄ 搬動 4 個專家");
});

test("a map of many layers and experts keeps to a screen and hides no hot expert", () => {
  const many = new Map(
    Array.from({ length: 61 }, (_, layer) => [
      layer,
      Array.from({ length: 384 }, (_, e) => (e === 200 ? 100 : 1)),
    ]),
  );
  const lines = loadMap(many);
  expect(lines.length).toBeLessThanOrEqual(24);
  for (const line of lines) {
    expect(line.length).toBeLessThanOrEqual(80);
    expect(line.split("█")).toHaveLength(2);
  }
});

test("a run without experts has no such lines", () => {
  expect(balanceLines(contextIn("en"), EMPTY.balance, 0, undefined)).toEqual([]);
});
