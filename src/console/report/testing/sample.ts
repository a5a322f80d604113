/** A made-up run for the tests of the report: its figures are drawn from a seed and mean nothing. */
import { Random, unwrap } from "../../../base/index.ts";
import {
  compareOutcomes,
  compareRetention,
  decideGate,
  DEFAULT_POLICY,
  type Evaluation,
  type Item,
  type Outcome,
  type Verdict,
} from "../../../evaluate/index.ts";
import { same } from "../html.ts";
import { TEXTS } from "../texts.ts";
import type { Curve, Point, ReportInput, TimelineEvent } from "../types.ts";

const FAMILIES = [
  "product mix",
  "diet",
  "transportation",
  "assignment",
  "knapsack",
  "set cover",
  "lot sizing",
  "facility location",
];
const START = 1_780_000_000;
const STEPS = 240;
const FAULT_STEP = 131;

export function sampleInput(seed = 7): ReportInput {
  const random = new Random(seed);
  const { result, examples } = sampleEvaluation(random);
  const rank = (number: number, place: string, scale: number) => ({
    rank: number,
    place,
    planned: {
      weights: 18.4e6 * scale,
      gradients: 18.4e6 * scale,
      optimizer: 36.8e6 * scale,
      activations: 61e6 * scale,
      logits: 12e6 * scale,
      buffers: 9e6,
      other: 4e6,
    },
    measuredPeakBytes: 171e6 * scale,
  });
  return {
    run: {
      name: "operations-research",
      id: "9f2c41d07be8",
      stage: "sft",
      started: START,
      finished: START + 412,
      outcome: "done",
      command: "tessera run examples/operations-research/recipe.yaml --seed 17",
    },
    asked: {
      facts: [
        {
          label: { en: "Goal", zh: "目標" },
          value: {
            en: "turn worded decision problems into solvable models",
            zh: "把文字決策問題轉為可求解的模型",
          },
        },
        { label: { en: "Base model", zh: "基礎模型" }, value: same("tiny-v4 (DeepseekV4ForCausalLM)") },
        {
          label: { en: "Parameters", zh: "參數" },
          value: { en: "2.9 M, all trained", zh: "2.9 M，全部訓練" },
        },
        { label: { en: "Stage", zh: "階段" }, value: same("SFT") },
        { label: { en: "Optimizer", zh: "優化器" }, value: same("AdamW, 1e-3, cosine") },
        {
          label: { en: "Batch", zh: "批次" },
          value: { en: "8 sequences of 512 tokens", zh: "8 條 512 詞元的序列" },
        },
      ],
      recipe:
        'version: 1\nname: operations-research\nstage: sft\nlayout: auto\ntrain:\n  steps: 240\n  seed: 17\n# <script>alert("never")</script>\n',
    },
    funnel: [
      {
        name: { en: "Produce and solve", zh: "產生並求解" },
        unit: { en: "problems", zh: "題" },
        in: 5210,
        out: 4400,
        dropped: [
          { reason: { en: "degenerate", zh: "退化" }, count: 498 },
          { reason: { en: "infeasible", zh: "不可行" }, count: 231 },
          { reason: { en: "time limit", zh: "逾時" }, count: 81 },
        ],
      },
      {
        name: { en: "Exact duplicates", zh: "完全重複" },
        unit: { en: "problems", zh: "題" },
        in: 4400,
        out: 4391,
        dropped: [{ reason: { en: "same text", zh: "文字相同" }, count: 9 }],
      },
      {
        name: { en: "Near duplicates", zh: "近似重複" },
        unit: { en: "problems", zh: "題" },
        in: 4391,
        out: 4204,
        dropped: [{ reason: { en: "similarity ≥ 0.9", zh: "相似度 ≥ 0.9" }, count: 187 }],
      },
      {
        name: { en: "Held-out overlap", zh: "與測試集重疊" },
        unit: { en: "problems", zh: "題" },
        in: 4204,
        out: 4204,
        dropped: [],
      },
      {
        name: { en: "Quota mix", zh: "配額選取" },
        unit: { en: "problems", zh: "題" },
        in: 4204,
        out: 3600,
        dropped: [{ reason: { en: "over quota", zh: "超出配額" }, count: 604 }],
      },
      {
        name: { en: "Packing", zh: "裝箱" },
        unit: { en: "sequences", zh: "條序列" },
        in: 3600,
        out: 1286,
        dropped: [],
      },
    ],
    memory: {
      layout: {
        en: "PP2 × EP2 on 4 ranks, FSDP 1, 1F1B, no recomputation",
        zh: "4 個進程：PP2 × EP2、FSDP 1、1F1B，不重算",
      },
      why: [
        {
          en: "Fits with 41 % to spare on the fullest rank; of 9 legal layouts it is the fastest by estimate.",
          zh: "最滿的進程仍餘 41 %；在 9 種合法佈局中估計最快。",
        },
        {
          en: "EP4 × PP1 would hold every layer on every rank: 38 % more activations.",
          zh: "EP4 × PP1 會使每個進程持有所有層：激活值多 38 %。",
        },
      ],
      others: [
        {
          name: "PP1 EP4",
          seconds: 1.31,
          freeBytes: 61e6,
          why: { en: "0.21 s more for experts", zh: "專家多 0.21 s" },
        },
        {
          name: "PP4 EP1",
          seconds: 1.62,
          freeBytes: 90e6,
          why: { en: "0.47 s more idle", zh: "空等多 0.47 s" },
        },
      ],
      capacityBytes: 256e6,
      measured: "device",
      ranks: [
        rank(0, "pp 0 · ep 0", 1.02),
        rank(1, "pp 0 · ep 1", 1.02),
        rank(2, "pp 1 · ep 0", 0.9),
        rank(3, "pp 1 · ep 1", 0.9),
      ],
    },
    training: sampleTraining(random),
    experts: sampleExperts(random),
    timeline: sampleTimeline(),
    evaluation: {
      result,
      examples,
      names: { en: same("English"), zh: same("中文"), knapsack: { en: "knapsack", zh: "背包" } },
    },
    lineage: [
      {
        name: { en: "produced problems", zh: "產生的題目" },
        hash: "a41f09c2d8e77b10",
        from: [],
        detail: "or/produce v1",
      },
      {
        name: { en: "screened problems", zh: "篩選後的題目" },
        hash: "77c0de119ab3f2e4",
        from: ["a41f09c2d8e77b10"],
        detail: "screen v1",
      },
      {
        name: { en: "packed sequences", zh: "裝箱的序列" },
        hash: "0d9e4471c3aa58b6",
        from: ["77c0de119ab3f2e4"],
        detail: "pack v1, 1,286 × 512",
      },
      {
        name: { en: "base weights", zh: "基礎權重" },
        hash: "e55b10fd4c2299aa",
        from: [],
        detail: "examples/base",
      },
      {
        name: { en: "checkpoint of step 240", zh: "第 240 步檢查點" },
        hash: "5c81aa03f1de6b97",
        from: ["0d9e4471c3aa58b6", "e55b10fd4c2299aa"],
        detail: "",
      },
    ],
    versions: [
      { name: "tessera", value: "0.1.0" },
      { name: "node", value: "24.21.0" },
      { name: "torch", value: "2.13.0+cpu" },
      { name: "transformers", value: "5.23.0" },
    ],
  };
}

function sampleTraining(random: Random): NonNullable<ReportInput["training"]> {
  const curve = (
    key: string,
    title: Curve["title"],
    unit: string,
    value: (step: number) => number,
    log = false,
  ): Curve => {
    const points: Point[] = [];
    for (let step = 1; step <= STEPS; step++) {
      const now = value(step);
      points.push([step, now, now, now, 0]);
    }
    const lost: [number, number][] = [];
    for (let step = 126; step <= FAULT_STEP; step++) lost.push([step, value(step)]);
    return { key, title, unit, points, lost, log };
  };
  return {
    curves: [
      curve(
        "loss",
        TEXTS.loss,
        "",
        (step) => 0.28 + 5.1 * Math.exp(-step / 42) + 0.05 * random.normal() * Math.exp(-step / 150),
      ),
      curve("throughput", TEXTS.throughput, "", (step) =>
        step === FAULT_STEP ? 310 : 3980 + 90 * random.normal(),
      ),
      curve(
        "gradNorm",
        TEXTS.gradNorm,
        "",
        (step) =>
          (0.25 + 2.2 * Math.exp(-step / 50)) * Math.exp(0.25 * random.normal()) * (step === 77 ? 9 : 1),
        true,
      ),
      curve(
        "learningRate",
        TEXTS.learningRate,
        "",
        (step) =>
          1e-3 *
          (step < 20 ? step / 20 : 0.1 + 0.45 * (1 + Math.cos((Math.PI * (step - 20)) / (STEPS - 20)))),
      ),
    ],
    marks: [
      { step: FAULT_STEP, kind: "fault", label: { en: "rank 2 killed", zh: "進程 2 被殺" } },
      ...[25, 50, 75, 100, 125, 150, 175, 200, 225, 240].map((step) => ({
        step,
        kind: "checkpoint" as const,
        label: TEXTS.checkpoint,
      })),
    ],
    steps: STEPS,
    tokens: STEPS * 8 * 512,
    seconds: 254,
    effectiveRatio: 0.968,
  };
}

function sampleBalance(ratio: readonly { step: number; worst: number }[]) {
  const line = {
    en: "move 6 experts in 3 of 4 layers (layer 2: 1.412 -> 1.018), 21.0 MB in 180 ms; saves 140 ms a step, paid back in 1.3 steps",
    zh: "搬動 3/4 層的 6 個專家（第 2 層：1.412 → 1.018），21.0 MB 需 180 ms；每步省 140 ms，1.3 步回本",
  };
  const decision = { step: 40, line, planned: 1.018, realised: 1.024, bytes: 21_000_000, moved: true };
  return {
    ranks: ratio.map(({ step }) =>
      step <= 40
        ? { step, realised: 1.41, bound: 1.01, planned: null }
        : { step, realised: 1.024, bound: 1.01, planned: 1.018 },
    ),
    last: { maxVio: 1.2, cv: 0.41, entropy: 0.962, dead: 0, dropped: 0, exchange: null, links: null },
    decisions: [{ ...decision, forecastSeconds: 0.14, measuredSeconds: 0.131, measuredPayback: 1.4 }],
    moves: 1,
    bytes: 21_000_000,
    wonSeconds: 26.1,
    forecastWonSeconds: 27.8,
    placed: null,
  };
}

function sampleExperts(random: Random): NonNullable<ReportInput["experts"]> {
  const layers = [0, 1, 2, 3, 4, 5];
  const experts = 16;
  const lean = layers.map(() => Array.from({ length: experts }, () => random.normal()));
  const frames = [];
  const ratio = [];
  for (let step = 1; step <= STEPS; step += 4) {
    const skew = 0.9 * Math.exp(-step / 60) + 0.12;
    const counts = layers.flatMap((_, row) => {
      const weights = (lean[row] as number[]).map((value) => Math.exp(value * skew + 0.05 * random.normal()));
      const sum = weights.reduce((a, b) => a + b);
      return weights.map((weight) => Math.round((8192 * weight) / sum));
    });
    if (step === 5) counts[9] = 0;
    frames.push({ step, counts });
    const ratios = layers.map(
      (_, row) => (Math.max(...counts.slice(row * experts, (row + 1) * experts)) * experts) / 8192,
    );
    ratio.push({ step, worst: Math.max(...ratios), mean: ratios.reduce((a, b) => a + b) / ratios.length });
  }
  return { layers, experts, frames, ratio, bound: 1, balance: sampleBalance(ratio) };
}

function sampleTimeline(): TimelineEvent[] {
  const phase = (t: number, end: number, en: string, zh: string): TimelineEvent => ({
    t: START + t,
    end: START + end,
    kind: "phase",
    title: { en, zh },
    detail: null,
    step: null,
  });
  return [
    phase(0, 41, "data", "資料"),
    phase(41, 43, "plan", "佈局"),
    phase(43, 301, "train", "訓練"),
    phase(301, 402, "measure", "測量"),
    phase(402, 409, "export", "匯出"),
    phase(409, 412, "report", "報告"),
    {
      t: START + 186.2,
      end: START + 188.6,
      kind: "fault",
      title: { en: "rank 2 ended by signal 9", zh: "進程 2 被信號 9 終止" },
      detail: null,
      step: FAULT_STEP,
    },
    {
      t: START + 186.5,
      end: null,
      kind: "alarm",
      title: { en: "rank crash", zh: "進程崩潰" },
      detail: {
        en: "evidence: exit of rank 2, no message since step 131",
        zh: "證據：進程 2 結束，第 131 步後無訊息",
      },
      step: FAULT_STEP,
    },
    {
      t: START + 186.6,
      end: null,
      kind: "remedy",
      title: { en: "restart from the checkpoint of step 125", zh: "自第 125 步檢查點重啟" },
      detail: { en: "attempt 1 of 3", zh: "第 1 次，最多 3 次" },
      step: 125,
    },
    {
      t: START + 188.6,
      end: null,
      kind: "healed",
      title: { en: "first new step", zh: "首個新步" },
      detail: null,
      step: 126,
    },
    ...[25, 50, 75, 100, 125, 150, 175, 200, 225, 240].map(
      (step): TimelineEvent => ({
        t: START + 46 + step * 1.05,
        end: null,
        kind: "checkpoint",
        title: { en: `checkpoint ${step}`, zh: `檢查點 ${step}` },
        detail: null,
        step,
      }),
    ),
  ];
}

function sampleEvaluation(random: Random): {
  result: Evaluation;
  examples: NonNullable<ReportInput["evaluation"]>["examples"];
} {
  const items: Item[] = Array.from({ length: 240 }, (_, i) => ({
    id: `p${String(i).padStart(4, "0")}`,
    prompt: "",
    problem:
      i % 2
        ? `一家工廠生產兩種產品，每件利潤分別為 ${3 + (i % 7)} 元與 5 元。工時上限為 ${40 + i} 小時，求最大利潤。`
        : `A workshop makes tables and chairs. A table earns ${30 + (i % 9)} and a chair 12. Wood is limited to ${100 + i} planks; a table takes 6 and a chair 2. How many of each earn the most?`,
    reference: `max ${30 + (i % 9)} x1 + 12 x2\nst\n6 x1 + 2 x2 <= ${100 + i}\ngen x1 x2\nend\n`,
    family: FAMILIES[i % 8] as string,
    language: i % 2 ? "zh" : "en",
    difficulty: String(1 + (i % 3)),
    status: "optimal",
    objective: 100 + i,
  }));
  const answer = (item: Item, chances: readonly [Verdict, number][]): Outcome => {
    let u = random.next();
    const verdict = chances.find(([, chance]) => (u -= chance) < 0)?.[0] ?? "correct";
    return {
      id: item.id,
      tokens: 40,
      finished: true,
      verdict,
      text:
        verdict === "unparsable"
          ? "max the the x1 x1 x1"
          : verdict === "correct"
            ? item.reference
            : item.reference.replace("6 x1", "7 x1"),
      reason:
        verdict === "unparsable"
          ? "line 1, column 5: expected a term"
          : verdict === "unsolved"
            ? "unbounded"
            : verdict === "wrong"
              ? "the objective differs"
              : "",
      objective: verdict === "correct" ? item.objective : verdict === "wrong" ? 91.5 : null,
    };
  };
  const base = items.map((item) =>
    answer(item, [
      ["unparsable", 0.72],
      ["wrong", 0.12],
      ["unsolved", 0.06],
    ]),
  );
  const candidate = items.map((item) =>
    answer(item, [
      ["wrong", 0.22 + 0.1 * Number(item.difficulty)],
      ["unparsable", 0.04],
      ["unsolved", 0.02],
    ]),
  );
  const comparison = unwrap(compareOutcomes(items, base, candidate));
  const before = Array.from({ length: 64 }, (_, i) => ({
    id: String(i),
    tokens: 256,
    nll: 256 * (2.1 + 0.1 * random.normal()),
  }));
  const after = before.map((row) => ({ ...row, nll: row.nll + 256 * (0.012 + 0.03 * random.normal()) }));
  const retention = unwrap(compareRetention(before, after));
  return {
    result: {
      schema: "tessera.eval/v1",
      items: { count: items.length, hash: "b".repeat(64) },
      base: { name: "base", identity: "c".repeat(64) },
      candidate: { name: "export", identity: "d".repeat(64) },
      decoding: { maxNewTokens: 256, stop: "<|end|>", greedy: true },
      methods: {
        share: "pass@1, Wilson score interval",
        difference: "paired, Tango score interval",
        test: "McNemar, exact, two-sided",
        retention: "paired ratio of perplexities, linearised Student interval per row",
      },
      comparison,
      retention,
      gate: decideGate(comparison, retention, DEFAULT_POLICY),
    },
    examples: items.map((item, i) => ({
      ...item,
      base: base[i] as Outcome,
      candidate: candidate[i] as Outcome,
    })),
  };
}
