import { describe, expect, test } from "vitest";
import { LANGS } from "../../base/index.ts";
import { change, escape, percent, points, pValue, same } from "./html.ts";
import { chartFrame, type ChartInput, chartSvg, nearestPoint } from "./page/chart.ts";
import { loadColour } from "./page/colour.ts";
import { linearScale, logScale, shortNumber } from "./page/scale.ts";
import { pageScript } from "./page/script.ts";
import { renderReport } from "./render.ts";
import { sampleInput } from "./testing/sample.ts";
import { TEXTS } from "./texts.ts";
import type { ReportInput } from "./types.ts";

const BARE: ReportInput = {
  run: {
    name: "bare",
    id: "0",
    stage: "sft",
    started: null,
    finished: null,
    outcome: "failed",
    command: "tessera run x",
  },
  asked: { facts: [], recipe: "" },
  funnel: [],
  memory: null,
  training: null,
  experts: null,
  timeline: [],
  evaluation: null,
  lineage: [],
  versions: [],
};

describe("the file", () => {
  const html = renderReport(sampleInput());

  test("asks nothing of the network", () => {
    expect(html).not.toMatch(/(src|href)=/);
    expect(html.match(/https?:\/\//g)).toBeNull();
    expect(html).toContain("default-src 'none'");
  });

  test("holds both languages: every text of one stands beside the other", () => {
    const count = (text: string) => html.split(text).length - 1;
    expect(count('class="en" lang="en"')).toBe(count('class="zh" lang="zh-Hant"'));
    expect(html).toContain(TEXTS.memoryLead.en);
    expect(html).toContain(TEXTS.memoryLead.zh);
    expect(renderReport(sampleInput(), "zh")).toContain('<html lang="zh-Hant" data-lang="zh"');
  });

  test("says the measured figures", () => {
    const { comparison, retention } = sampleInput().evaluation?.result ?? {};
    if (!comparison || !retention) throw new Error("the sample has no evaluation");
    const { overall } = comparison;
    for (const figure of [
      points(overall.difference.value),
      points(overall.difference.low),
      points(overall.difference.high),
      percent(overall.base.value),
      percent(overall.candidate.value),
      pValue(overall.p),
      change(retention.ratio.value),
      "4,204",
      "9f2c41d07be8",
    ]) {
      expect(html).toContain(figure);
    }
  });

  test("is the same bytes for the same input", () => {
    expect(renderReport(sampleInput())).toBe(html);
  });

  test("cannot be broken out of by what a model or a recipe wrote", () => {
    const nasty = `</script><script>alert(1)</script><img src=x onerror=alert(1)>"'&`;
    const input = sampleInput();
    const example = input.evaluation?.examples[0];
    if (!input.evaluation || !example) throw new Error("the sample has no examples");
    const hostile = renderReport({
      ...input,
      run: { ...input.run, name: nasty, id: nasty, command: nasty },
      asked: { facts: [{ label: same(nasty), value: same(nasty) }], recipe: nasty },
      versions: [{ name: nasty, value: nasty }],
      evaluation: {
        ...input.evaluation,
        examples: [
          {
            ...example,
            problem: nasty,
            reference: nasty,
            base: { ...example.base, text: nasty, reason: nasty },
          },
        ],
      },
    });
    expect(hostile).not.toContain("<img");
    expect(hostile.match(/<script/g)).toHaveLength(2);
    expect(hostile.match(/<\/script/g)).toHaveLength(2);
  });

  test("draws absence as absence", () => {
    const bare = renderReport(BARE);
    // Eight empty sections, and once among the texts of the page's script.
    expect(bare.split(TEXTS.notMeasured.en).length - 1).toBe(8 + 1);
    expect(bare).toContain(TEXTS.failed.en);
  });

  test("tells refused and inconclusive from passed", () => {
    const input = sampleInput();
    for (const verdict of ["passed", "refused", "inconclusive"] as const) {
      const evaluation = input.evaluation;
      if (!evaluation) throw new Error("the sample has no evaluation");
      const changed = renderReport({
        ...input,
        evaluation: {
          ...evaluation,
          result: { ...evaluation.result, gate: { ...evaluation.result.gate, verdict } },
        },
      });
      expect(changed).toContain(`class="state s-${verdict}"`);
    }
  });
});

describe("texts", () => {
  test("name the same parameters in both languages and are not empty", () => {
    for (const [key, text] of Object.entries(TEXTS)) {
      const [en, zh] = LANGS.map((lang) =>
        [...text[lang].matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort(),
      );
      expect([key, zh]).toEqual([key, en]);
      expect(text.en.trim() && text.zh.trim()).not.toBe("");
    }
  });

  test("every text is used", () => {
    const html = `${renderReport(sampleInput())}${renderReport(BARE)}`.replace(
      /<script type="application\/json".*?<\/script>/s,
      "",
    );
    const script = pageScript();
    const shown = (text: string) =>
      html.includes(escape(text.split(/\{\w+\}/).sort((a, b) => b.length - a.length)[0] ?? ""));
    const unused = Object.entries(TEXTS).filter(
      ([key, text]) => !shown(text.en) && !script.includes(`"${key}"`),
    );
    const states =
      /^(check(Inconclusive|Refused)|hero(Same|Worse)|inconclusive|refused|running|stopped|memoryLeadNoCapacity|processPeak|tileNoFault|tileStepsOnly|correct|of)$/;
    expect(unused.map(([key]) => key).filter((key) => !states.test(key))).toEqual([]);
  });
});

describe("numbers for a person", () => {
  test("percent, points, p", () => {
    expect(percent(0.4254)).toBe("42.5\u00a0%");
    expect(points(-0.05)).toBe("−5.0");
    expect(points(0.0001)).toBe("0.0");
    expect(change(1.034)).toBe("+3.4\u00a0%");
    expect(pValue(0.0214)).toBe("0.021");
    expect(pValue(1.6e-23)).toBe("1.6 × 10⁻²³");
    expect(pValue(0)).toBe("< 10⁻⁹⁹");
  });
  test("short numbers", () => {
    expect([0, 12, 0.3172, 4063, 12_345, 1.2e6, -0.5, 0.0005, 1e-4].map(shortNumber)).toEqual([
      "0",
      "12",
      "0.3172",
      "4063",
      "12.35 k",
      "1.2 M",
      "−0.5",
      "5e−4",
      "1e−4",
    ]);
  });
});

describe("charts", () => {
  const input = (
    points: ChartInput["lines"][number]["points"],
    extra: Partial<ChartInput> = {},
  ): ChartInput => ({
    lines: [{ points, dashed: false }],
    lost: [],
    marks: [],
    level: null,
    log: false,
    ...extra,
  });

  test("scales put round ticks inside and keep the order", () => {
    const linear = linearScale(0.31, 5.4, 168, 16, 4);
    expect(linear.ticks.map((tick) => Math.round(tick * 100) / 100)).toEqual([2, 4]);
    expect(linear.at(1)).toBeGreaterThan(linear.at(2));
    const log = logScale(0.02, 9, 168, 16, 4);
    expect(log.ticks).toEqual([0.1, 1]);
    expect(log.at(0.1) - log.at(1)).toBeCloseTo(log.at(1) - log.at(10), 6);
  });

  test("a spike inside a bucket reaches the height of its greatest value", () => {
    const chart = input([
      [0, 1, 1, 1, 0],
      [10, 1, 40, 1, 0],
      [20, 1, 1, 1, 0],
    ]);
    const frame = chartFrame(chart, 480);
    expect(chartSvg(chart, 480)).toContain(`${frame.x.at(10).toFixed(1)} ${frame.y.at(40).toFixed(1)}`);
  });

  test("what is no number breaks the line and is marked", () => {
    const svg = chartSvg(
      input([
        [0, 1, 1, 1, 0],
        [1, 2, 2, 2, 0],
        [2, null, null, null, 1],
        [3, 2, 2, 2, 0],
        [4, 1, 1, 1, 0],
      ]),
      480,
    );
    expect(svg.match(/class="line line-0"/g)).toHaveLength(2);
    expect(svg.match(/class="nan"/g)).toHaveLength(1);
    expect(svg).not.toContain("NaN");
  });

  test("empty, single and constant series draw without a flaw", () => {
    for (const chart of [
      input([]),
      input([[5, 3, 3, 3, 0]]),
      input(
        [
          [0, 0, 0, 0, 0],
          [9, 0, 0, 0, 0],
        ],
        { log: true },
      ),
    ]) {
      expect(chartSvg(chart, 300)).not.toMatch(/NaN|Infinity|undefined/);
    }
  });

  test("the nearest point is found", () => {
    const points = [0, 10, 20].map((x) => [x, 0, 0, 0, 0] as const);
    expect([-5, 4, 6, 15, 99].map((x) => nearestPoint(points, x))).toEqual([0, 0, 1, 2, 2]);
  });
});

test("load colours rise in contrast away from an even share, in both themes", () => {
  const light = (colour: string) => (colour.match(/\d+/g) ?? []).reduce((sum, part) => sum + Number(part), 0);
  for (const side of [
    [1, 1.5, 2, 3, 4],
    [1, 0.7, 0.5, 0.3, 0.25],
  ]) {
    const bright = side.map((ratio) => light(loadColour(ratio, false)));
    const dark = side.map((ratio) => light(loadColour(ratio, true)));
    expect(bright).toEqual([...bright].sort((a, b) => b - a));
    expect(dark).toEqual([...dark].sort((a, b) => a - b));
  }
  expect(loadColour(0, false)).toBe(loadColour(0.25, false));
});
