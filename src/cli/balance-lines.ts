import { formatBytes, formatSeconds } from "../base/index.ts";
import { type BalanceMessage, type BalanceState, summarizeBalance } from "../run/index.ts";
import type { Context } from "./context.ts";

/** Lines of `status` about the experts: how even they are, what was decided last and why, what moves brought. */
export function balanceLines(
  context: Context,
  balance: BalanceState,
  lastStep: number,
  now: BalanceMessage | undefined,
): string[] {
  const lines: string[] = [];
  if (now && now.layers.length > 0) {
    const worst = now.realised.reduce((at, value, i, all) => (value > (all[at] as number) ? i : at), 0);
    const planned = now.planned[worst];
    const params = {
      layer: now.layers[worst] as number,
      is: (now.realised[worst] as number).toFixed(3),
      bound: (now.bound[worst] as number).toFixed(3),
      toBound: ((now.realised[worst] as number) / (now.bound[worst] as number)).toFixed(3),
      planned: typeof planned === "number" ? planned.toFixed(3) : "-",
      vio: Math.max(...now.maxVio).toFixed(2),
      dropped: now.droppedRows ?? "–",
      dead: now.deadExperts.reduce((sum, n) => sum + n, 0),
    };
    lines.push(
      context.say(
        {
          en: "  experts: busiest rank {is} of the mean in layer {layer} (bound {bound}, ratio {toBound}, planned {planned}); MaxVio {vio}, {dead} dead, {dropped} tokens dropped",
          zh: "  專家：第 {layer} 層最忙進程為平均的 {is}（下界 {bound}，比值 {toBound}，計劃 {planned}）；MaxVio {vio}，閒置 {dead}，丟棄詞元 {dropped}",
        },
        params,
      ),
    );
  }
  const line = now?.line ?? balance.decisions.at(-1)?.line;
  if (line) lines.push(`  ⇄ ${context.say(line)}`);
  const sum = summarizeBalance(balance, lastStep);
  if (sum.moves > 0) {
    lines.push(
      context.say(
        {
          en: "    {moves} moves: {bytes} in {seconds}; won {won} so far, forecast {forecast}",
          zh: "    搬動 {moves} 次：{bytes}，用時 {seconds}；至今贏得 {won}，預測 {forecast}",
        },
        {
          moves: sum.moves,
          bytes: formatBytes(sum.bytes),
          seconds: formatSeconds(sum.moveSeconds),
          won: sum.measured > 0 ? formatSeconds(sum.wonSeconds) : "…",
          forecast: formatSeconds(sum.forecastWonSeconds),
        },
      ),
    );
  }
  if (balance.memory && balance.memory.action !== "none")
    lines.push(`  ! ${context.say(balance.memory.line)}`);
  return lines;
}
