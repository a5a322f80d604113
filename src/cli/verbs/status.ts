import { EXIT, formatBytes, formatSeconds } from "../../base/index.ts";
import { number, paths, PHASES, readLastBalance, readLastLoads, summarizeBalance } from "../../run/index.ts";
import { balanceLines } from "../balance-lines.ts";
import type { Context, Verb } from "../context.ts";
import { conditionText, exitOf, findRun, lastStep, type RunView, runsFolder, shortPath } from "../runs.ts";
import { phaseName, verdictText } from "../tell.ts";

/** How one run stands: phases, step, checkpoint, faults with their remedies. */
export const status: Verb = {
  name: "status",
  summary: { en: "show how a run stands", zh: "查看任務現況" },
  define(command, act) {
    command
      .argument("[run]", "name, name/id, id or folder; the newest when absent")
      .option("--runs <folder>", "folder of all runs (default: runs)")
      .option("--exit-code", "exit with the code that the run ended with", false)
      .action((asked: string | undefined, options: { runs?: string; exitCode: boolean }) =>
        act((context) => {
          const view = findRun(runsFolder(context, options.runs), asked);
          const step = lastStep(view.folder);
          const { state } = view;
          context.data({
            schema: "tessera.status/v1",
            run: view.id,
            name: view.name,
            folder: view.folder,
            condition: view.condition,
            verdict: state.ended?.verdict ?? null,
            phases: state.phases,
            attempt: state.attempt,
            world: state.world,
            step: step
              ? {
                  step: step.step,
                  loss: number(step.loss),
                  gradNorm: number(step.gradNorm),
                  tokens: step.tokens,
                  seconds: step.seconds,
                }
              : null,
            checkpoint: state.checkpoint,
            incidents: state.incidents,
            balance: {
              ...state.balance,
              summary: summarizeBalance(state.balance, step?.step ?? 0),
              now: readLastBalance(paths(view.folder).series) ?? null,
            },
            startedAt: state.createdAt,
            lastAt: state.lastAt,
          });
          context.out(statusText(context, view));
          return options.exitCode ? exitOf(view.condition) : EXIT.done;
        }),
      );
  },
};

function statusText(context: Context, view: RunView): string {
  const { state, folder } = view;
  const step = lastStep(folder);
  const lines = [
    `${view.name}/${view.id}  ${conditionText(view.condition, context)}  ${shortPath(context, folder)}`,
  ];
  for (const name of PHASES) {
    const phase = state.phases[name];
    if (!phase) continue;
    const mark = phase.state === "done" ? "✓" : phase.state === "failed" ? "✗" : "…";
    const took =
      phase.state === "done"
        ? formatSeconds(phase.seconds)
        : phase.state === "failed"
          ? phase.verdict.code
          : "";
    lines.push(`  ${mark} ${phaseName(context, name)}  ${took}`);
  }
  if (step) {
    lines.push(
      context.say(
        {
          en: "  step {step}, loss {loss}, {rate} tokens/s, attempt {attempt}",
          zh: "  第 {step} 步，損失 {loss}，{rate} 詞元/秒，第 {attempt} 次嘗試",
        },
        {
          step: step.step,
          loss: number(step.loss).toFixed(4),
          rate: Math.round(step.tokens / number(step.seconds)),
          attempt: state.attempt,
        },
      ),
    );
  }
  if (state.checkpoint) {
    lines.push(
      context.say(
        { en: "  newest checkpoint: step {step}, {size}", zh: "  最新檢查點：第 {step} 步，{size}" },
        { step: state.checkpoint.step, size: formatBytes(state.checkpoint.bytes) },
      ),
    );
  }
  const { series } = paths(folder);
  const loads = readLastLoads(series);
  lines.push(...balanceLines(context, state.balance, step?.step ?? 0, readLastBalance(series), loads));
  for (const one of state.incidents) {
    const healed = one.recovered
      ? context.say({ en: "healed in {s}", zh: "{s} 後恢復" }, { s: formatSeconds(one.recovered.seconds) })
      : (one.remedy?.do ?? "…");
    lines.push(
      `  ! ${verdictText(context, { code: one.alarm.code, params: one.alarm.evidence })} → ${healed}`,
    );
  }
  if (state.ended?.verdict) lines.push(`  ${verdictText(context, state.ended.verdict, { run: view.id })}`);
  if (view.condition === "unattended" || view.condition === "interrupted" || view.condition === "stopped") {
    lines.push(`  → tessera resume ${view.name}/${view.id}`);
  }
  return lines.join("\n");
}
