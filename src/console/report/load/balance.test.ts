import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { EMPTY, paths, replay, Series } from "../../../run/index.ts";
import { LINE, MOVED } from "../../../run/journal/testing/moved.ts";
import { balanceBody } from "../sections/balance.ts";
import { sampleInput } from "../testing/sample.ts";
import { readBalance } from "./balance.ts";

const folder = mkdtempSync(join(tmpdir(), "tessera-report-balance-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the report has each decision with what was promised and what came, and the time won", () => {
  mkdirSync(folder, { recursive: true });
  const series = new Series(paths(folder).series, 2);
  for (const step of [1, 2, 40, 41]) {
    series.note({
      v: 1,
      kind: "balance",
      run: "r",
      rank: -1,
      step,
      t: step,
      attempt: 1,
      layers: [2, 3],
      realised: step < 21 ? [1.1, 1.5] : [1.1, 1.03],
      bound: [1.05, 1.01],
      planned: step < 21 ? [null, null] : [null, 1.02],
      noiseFloor: [1, 1],
      maxVio: [0.4, 0.9],
      cv: [0.3, 0.2],
      entropy: [0.9, 0.95],
      deadExperts: [1, 2],
      droppedRows: 0,
      allToAllSeconds: { least: 0.1, median: 0.1, most: 0.2 },
      line: LINE,
    });
  }
  series.close();
  const part = readBalance(folder, replay(MOVED));
  expect(part?.ranks).toEqual([
    { step: 1, realised: 1.5, bound: 1.01, planned: null },
    { step: 2, realised: 1.5, bound: 1.01, planned: null },
    { step: 40, realised: 1.1, bound: 1.05, planned: null },
    { step: 41, realised: 1.1, bound: 1.05, planned: null },
  ]);
  expect(part?.last).toEqual({ maxVio: 0.9, cv: 0.3, entropy: 0.9, dead: 3, dropped: 0 });
  expect(part?.decisions).toEqual([
    {
      step: 20,
      line: LINE,
      planned: 1.02,
      realised: 1.03,
      bytes: 4000,
      forecastSeconds: 0.5,
      measuredSeconds: 0.4,
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
  for (const figure of ["1.020", "1.030", "500 ms", "400 ms"]) expect(html).toContain(figure);
});

test("a run without experts, or before there were digests, has no such part", () => {
  expect(readBalance(join(folder, "none"), EMPTY)).toBeNull();
});
