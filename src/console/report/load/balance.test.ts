import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { digestAt, LINE, MOVED_ONCE } from "../../../run/balancing/testing/decided.ts";
import { EMPTY, paths, replay, Series } from "../../../run/index.ts";
import { balanceBody } from "../sections/balance.ts";
import { sampleInput } from "../testing/sample.ts";
import { readBalance } from "./balance.ts";
import { readEvents } from "./events.ts";

const folder = mkdtempSync(join(tmpdir(), "tessera-report-balance-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the report has each decision with what was promised and what came, and the time won", () => {
  mkdirSync(folder, { recursive: true });
  const series = new Series(paths(folder).series, 2);
  for (const step of [1, 2, 40]) series.note(digestAt(step));
  series.note({ ...digestAt(41), links: null });
  series.close();
  const part = readBalance(folder, replay(MOVED_ONCE));
  expect(part?.ranks).toEqual([
    { step: 1, realised: 1.5, bound: 1.01, planned: null },
    { step: 2, realised: 1.5, bound: 1.01, planned: null },
    { step: 40, realised: 1.1, bound: 1.05, planned: null },
    { step: 41, realised: 1.1, bound: 1.05, planned: null },
  ]);
  expect(part?.last).toEqual({
    maxVio: 0.9,
    cv: 0.3,
    entropy: 0.9,
    dead: 3,
    dropped: 0,
    exchange: { least: 0.1, median: 0.125, most: 0.2, rank: 3, shares: [0.5, 0.3, 0.2] },
    links: expect.objectContaining({ en: expect.stringContaining("inside a node 30 % at 50.0 MiB/s") }),
  });
  expect(part?.decisions).toEqual([
    {
      step: 20,
      line: LINE,
      planned: 1.02,
      realised: 1.03,
      bytes: 4000,
      forecastSeconds: 0.5,
      measuredSeconds: 0.4,
      measuredPayback: 3.75,
      moved: true,
    },
  ]);
  // Twenty steps since the move, less what it cost.
  expect(part).toMatchObject({ moves: 1, bytes: 4000 });
  expect(part?.wonSeconds).toBeCloseTo(0.4 * 20 - 1.5, 9);
  expect(part?.forecastWonSeconds).toBeCloseTo(0.5 * 20 - 1, 9);
  const sample = sampleInput();
  if (!part || !sample.experts) throw new Error("no part");
  const html = balanceBody({ ...sample, experts: { ...sample.experts, balance: part } });
  expect(html).toContain("move 4 experts &lt;here&gt;");
  expect(html).toContain('data-chart="rankBalance"');
  for (const figure of [
    "1.020",
    "1.030",
    "500 ms",
    "400 ms",
    "125 ms",
    "(rank 3)",
    "3.8",
    "20 % over the network",
    "network –",
    "節點內 30 %（50.0 MiB/s）",
  ])
    expect(html).toContain(figure);
});

test("a run without experts, or before there were digests, has no such part", () => {
  expect(readBalance(join(folder, "none"), EMPTY)).toBeNull();
});

test("what the memory guard foresaw is on the timeline, and that it passed", () => {
  const said = { kind: "memoryForecast", attempt: 1, forecastBytes: 2, budgetBytes: 1 } as const;
  const line = { en: "2 of 1", zh: "上限 1" };
  const { timeline } = readEvents([
    { ...said, t: 8, step: 50, action: "advise", line },
    { ...said, t: 9, step: 60, action: "none", line: { en: "stays", zh: "仍在" } },
  ]);
  expect(timeline).toMatchObject([
    { t: 8, kind: "alarm", step: 50, title: { zh: "最忙進程的記憶體" }, detail: line },
    { t: 9, kind: "note", step: 60, detail: { en: "stays" } },
  ]);
});

test("a thread that died is on the timeline: from then on nothing moves", () => {
  const verdict = { code: "RUN_BALANCING_LOST", params: { why: "exit code 1" } };
  const { timeline } = readEvents([
    ...MOVED_ONCE,
    { t: 9, kind: "balanceLost", attempt: 1, step: 60, verdict },
  ]);
  expect(timeline).toMatchObject([
    { t: 9, kind: "note", step: 60, title: { zh: "不再搬動專家" }, detail: { en: "exit code 1" } },
  ]);
});
