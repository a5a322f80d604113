import { readFileSync } from "node:fs";
import { formatSeconds } from "../base/index.ts";
import type { Evaluation } from "../evaluate/index.ts";
import type { Outputs } from "../run/index.ts";
import type { Context } from "./context.ts";
import { shortPath } from "./runs.ts";
import { table } from "./table.ts";

const points = (share: number): string => `${(share * 100).toFixed(1)}`;
const range = ({ value, low, high }: { value: number; low: number; high: number }): string =>
  `${points(value)} (${points(low)} … ${points(high)})`;

/** The end of a run that was measured: before and after with their intervals, the gate, and where the report is. */
export function summary(
  context: Context,
  run: { outputs: Partial<Outputs>; healed: number; seconds: number },
): void {
  const { outputs } = run;
  const evaluation = JSON.parse(readFileSync(String(outputs.measure?.file), "utf8")) as Evaluation;
  const { overall, groups, verdicts } = evaluation.comparison;
  const text = (en: string, zh: string) => context.say({ en, zh });
  const rows = [overall, ...groups.language, ...groups.family].map((slice, i) => [
    i === 0 ? text("all", "全部") : slice.key,
    String(slice.n),
    range(slice.base),
    range(slice.candidate),
    range(slice.difference),
    slice.p < 0.001 ? slice.p.toExponential(1) : slice.p.toFixed(3),
  ]);
  context.out("");
  context.out(
    table(
      [
        { title: text("pass@1, %", "pass@1（%）") },
        { title: "n", align: "right" },
        { title: text("base", "基礎"), align: "right" },
        { title: text("trained", "訓練後"), align: "right" },
        { title: text("paired difference (95 %)", "成對差（95 %）"), align: "right" },
        { title: "McNemar p", align: "right" },
      ],
      rows,
    ),
  );
  const kinds = (counts: Evaluation["comparison"]["verdicts"]["base"]) =>
    `${counts.correct} / ${counts.wrong} / ${counts.unparsable} / ${counts.unsolved}`;
  context.out("");
  context.out(
    `${text("correct / wrong / unparsable / unsolved", "正確 / 錯誤 / 無法解析 / 無解")}: ${kinds(verdicts.base)} → ${kinds(verdicts.candidate)}`,
  );
  const { retention, gate } = evaluation;
  if (retention) {
    const { basePerplexity, candidatePerplexity, ratio } = retention;
    context.out(
      `${text("perplexity of general text", "通用文本困惑度")}: ${basePerplexity.toFixed(3)} → ${candidatePerplexity.toFixed(3)} (${(ratio.value * 100 - 100).toFixed(1)} %)`,
    );
  }
  context.out(
    `${text("steps", "步數")}: ${outputs.train?.step ?? 0}   ${text("faults healed", "已恢復的故障")}: ${run.healed}   ${text("time", "用時")}: ${formatSeconds(run.seconds)}`,
  );
  context.out(`${text("gate", "閘門")}: ${gate.verdict}`);
  if (outputs.export) context.out(`${text("model", "模型")}: ${shortPath(context, outputs.export.folder)}`);
  if (outputs.report) context.out(`${text("report", "報告")}: ${shortPath(context, outputs.report.file)}`);
}
