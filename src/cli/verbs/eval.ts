import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { InvalidArgumentError, Option } from "commander";
import { EXIT, type ExitCode, formatCount } from "../../base/index.ts";
import { type B4oOutcome, MARKS, solveB4o } from "../../domains/or/index.ts";
import {
  DEFAULT_POLICY,
  type Evaluation,
  GATE_REASONS,
  measure,
  type MeasurePhase,
  orChecker,
  orFamilyNames,
  pythonEngine,
  readOrItems,
  type Slice,
  VERDICTS,
} from "../../evaluate/index.ts";
import { cliFail } from "../errors.ts";
import { type Context, paint, type Verb } from "../context.ts";
import { progressLine } from "../progress-line.ts";
import { table } from "../table.ts";

const ROOT = resolve(import.meta.dirname, "../../..");

type Options = {
  readonly benchmark?: "b4o";
  readonly path?: string;
  readonly base?: string;
  readonly candidate?: string;
  readonly items?: string;
  readonly retention?: string;
  readonly out: string;
  readonly problems: number;
  readonly maxNewTokens: number;
  readonly batch: number;
  readonly processes: number;
  readonly minimumEffect: number;
  readonly margin: number;
  readonly timeLimit: number;
};

/** Measures one model against another on held-out problems, or scores a published benchmark. Exit code 4: the gate does not let it pass. */
export const evaluate: Verb = {
  name: "eval",
  summary: {
    en: "measure a trained model against its base, or score a published benchmark",
    zh: "比較訓練後與基礎模型，或評分公開基準",
  },
  define(command, act) {
    const cores = availableParallelism();
    command
      .option("--base <folder>", "Hugging Face folder of the model before training")
      .option("--candidate <folder>", "Hugging Face folder of the model after training")
      .option("--items <file>", "held-out problems (heldout.jsonl of the data)")
      .option("--retention <file>", "packed general text; without it the gate cannot pass")
      .option("--out <folder>", "where answers and the evaluation are kept", "eval")
      .option("--problems <count>", "problems both models answer", whole, 200)
      .option("--max-new-tokens <count>", "longest answer", whole, 256)
      .option("--batch <count>", "answers generated at once by a process", whole, 64)
      .option("--processes <count>", "processes that generate at once", whole, cores)
      .option(
        "--minimum-effect <share>",
        "the interval must lie above this",
        share,
        DEFAULT_POLICY.minimumEffect,
      )
      .option(
        "--margin <share>",
        "largest rise of perplexity on general text",
        share,
        DEFAULT_POLICY.retentionMargin,
      )
      .addOption(new Option("--benchmark <name>", "score a published set instead").choices(["b4o"]))
      .option("--path <folder>", "folder of the published set")
      .option("--time-limit <seconds>", "longest solve of a published model", whole, 300)
      .action((options: Options) =>
        act((context) => (options.benchmark ? runB4o(context, options) : runPair(context, options))),
      );
  },
};

async function runPair(context: Context, options: Options): Promise<ExitCode> {
  const need = (name: "base" | "candidate" | "items"): string => {
    const value = options[name];
    if (value === undefined) throw cliFail("EVAL_OPTION", { option: `--${name}` });
    return resolve(context.cwd, value);
  };
  const python = join(context.env["TESSERA_VENV"] ?? join(ROOT, ".venv"), "bin", "python");
  const items = readOrItems(need("items"), options.problems);
  const { checker, close } = orChecker({ threads: Math.min(options.processes, 4) });
  const line = progressLine(context);
  try {
    const folder = resolve(context.cwd, options.out);
    const result = await measure(pythonEngine(python, ROOT), checker, {
      items,
      base: need("base"),
      candidate: need("candidate"),
      retention: options.retention === undefined ? null : resolve(context.cwd, options.retention),
      folder,
      decoding: {
        maxNewTokens: options.maxNewTokens,
        batch: options.batch,
        stop: MARKS.end,
        processes: options.processes,
        threads: 1,
      },
      policy: {
        ...DEFAULT_POLICY,
        minimumEffect: options.minimumEffect,
        retentionMargin: options.margin,
      },
      onProgress: (phase, done, total) => line.show(`${context.say(PHASES[phase])} ${done}/${total}`),
    });
    line.clear();
    context.out(describe(context, result));
    context.data({ ...result, folder });
    return result.gate.verdict === "passed" ? EXIT.done : EXIT.gateRefused;
  } finally {
    line.clear();
    await close();
  }
}

const PHASES: Readonly<Record<MeasurePhase, { en: string; zh: string }>> = {
  "base answers": { en: "answers of the base model", zh: "基礎模型作答" },
  "candidate answers": { en: "answers of the trained model", zh: "訓練後模型作答" },
  solving: { en: "solving the answers", zh: "求解答案" },
  retention: { en: "perplexity on general text", zh: "通用文本困惑度" },
};

/** The evaluation for a terminal: one table, then verdicts, retention and the gate. */
export function describe(context: Pick<Context, "say" | "lang">, result: Evaluation): string {
  const { comparison, retention, gate } = result;
  const zh = context.lang === "zh";
  const names = orFamilyNames();
  const points = (value: number) => (100 * value).toFixed(1);
  const row = (slice: Slice, name: string) => [
    name,
    String(slice.n),
    points(slice.base.value),
    points(slice.candidate.value),
    `${points(slice.difference.value)} [${points(slice.difference.low)}, ${points(slice.difference.high)}]`,
    slice.p < 0.001 ? slice.p.toExponential(1) : slice.p.toFixed(3),
  ];
  const groups = Object.values(comparison.groups).flatMap((slices) =>
    slices.length > 1
      ? slices.map((slice) => row(slice, `  ${names[slice.key]?.[context.lang] ?? slice.key}`))
      : [],
  );
  const columns = zh
    ? ["分組", "題數", "訓練前 %", "訓練後 %", "差（95 % 區間）", "p"]
    : ["group", "problems", "before %", "after %", "difference, 95 % interval", "p"];
  const effect = table(
    columns.map((title, i) => ({ title, align: i === 0 ? "left" : "right" })),
    [row(comparison.overall, zh ? "全部" : "all"), ...groups],
  );
  const verdicts = (["base", "candidate"] as const).map((side) => {
    const counts = VERDICTS.map((verdict) => `${verdict} ${comparison.verdicts[side][verdict]}`).join(", ");
    return `${zh ? (side === "base" ? "訓練前" : "訓練後") : side === "base" ? "before" : "after"}: ${counts}`;
  });
  const kept = retention
    ? `${zh ? "通用文本困惑度" : "perplexity on general text"}: ${retention.basePerplexity.toFixed(3)} → ${retention.candidatePerplexity.toFixed(3)} (×${retention.ratio.value.toFixed(3)} [${retention.ratio.low.toFixed(3)}, ${retention.ratio.high.toFixed(3)}], ${formatCount(retention.tokens)})`
    : "";
  const colour = gate.verdict === "passed" ? "green" : gate.verdict === "refused" ? "red" : "yellow";
  const verdictText = {
    passed: { en: "gate passed", zh: "通過閘門" },
    refused: { en: "gate refused", zh: "閘門拒絕" },
    inconclusive: { en: "inconclusive: not passed", zh: "無法定論：未通過" },
  }[gate.verdict];
  const checks = gate.checks.map(
    (check) => `  ${check.name}: ${check.verdict}, ${GATE_REASONS[check.reason][context.lang]}`,
  );
  return [
    effect,
    "",
    ...verdicts,
    ...(kept ? [kept] : []),
    "",
    paint(["bold", colour], verdictText[context.lang]),
    ...checks,
  ].join("\n");
}

async function runB4o(context: Context, options: Options): Promise<ExitCode> {
  if (options.path === undefined) throw cliFail("EVAL_OPTION", { option: "--path" });
  const folder = resolve(context.cwd, options.path);
  if (!existsSync(folder)) throw cliFail("EVAL_PATH", { path: folder }, { file: folder });
  const line = progressLine(context);
  const outcomes = await solveB4o(
    folder,
    { threads: options.processes, timeLimitSeconds: options.timeLimit },
    (done, of) =>
      line.show(`${context.say({ en: "published models solved", zh: "已求解的公開模型" })} ${done}/${of}`),
  );
  line.clear();
  const reproduced = outcomes.filter((one) => one.outcome === "reproduced").length;
  const others = outcomes.filter(
    (one): one is Exclude<B4oOutcome, { outcome: "reproduced" }> => one.outcome !== "reproduced",
  );
  context.out(
    [
      context.say(
        {
          en: "{reproduced} of {total} stated optima reproduced",
          zh: "{total} 個公佈最優值中重現 {reproduced} 個",
        },
        { reproduced, total: outcomes.length },
      ),
      ...(others.length > 0
        ? [
            "",
            table(
              [{ title: "id" }, { title: "" }, { title: context.say({ en: "reason", zh: "原因" }) }],
              others.map((one) => [one.id, one.outcome, one.reason]),
            ),
          ]
        : []),
    ].join("\n"),
  );
  context.data({
    schema: "tessera.benchmark/v1",
    benchmark: "b4o",
    total: outcomes.length,
    reproduced,
    others,
  });
  return EXIT.done;
}

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("a whole number from 1 on");
  return value;
}

function share(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("a number, e.g. 0.05");
  return value;
}
