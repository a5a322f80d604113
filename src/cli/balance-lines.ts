import { formatBytes, formatSeconds } from "../base/index.ts";
import { type BalanceMessage, type BalanceState, linkLine, summarizeBalance } from "../run/index.ts";
import { loadMap } from "./balance-picture.ts";
import type { Context } from "./context.ts";

/** Lines of `status` about the experts: how even they are, what was decided last and why, what moves brought. */
export function balanceLines(
  context: Context,
  balance: BalanceState,
  lastStep: number,
  now: BalanceMessage | undefined,
  loads: ReadonlyMap<number, readonly number[]> = new Map(),
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
      cv: Math.max(...now.cv).toFixed(2),
      entropy: Math.min(...now.entropy).toFixed(3),
      dropped: now.droppedRows ?? "–",
      dead: now.deadExperts.reduce((sum, n) => sum + n, 0),
    };
    lines.push(
      context.say(
        {
          en: "  experts: busiest rank {is} of the mean in layer {layer} (bound {bound}, ratio {toBound}, planned {planned}); MaxVio {vio}, CV {cv}, router entropy {entropy} of 1, {dead} dead, {dropped} tokens dropped",
          zh: "  專家：第 {layer} 層最忙進程為平均的 {is}（下界 {bound}，比值 {toBound}，計劃 {planned}）；MaxVio {vio}，CV {cv}，路由熵 {entropy}（滿分 1），閒置 {dead}，丟棄詞元 {dropped}",
        },
        params,
      ),
    );
  }
  const exchange = now && exchangeLine(context, now);
  if (exchange) lines.push(exchange);
  if (now?.links) lines.push(`  ${context.say(linkLine(now.links))}`);
  if (loads.size > 0) {
    const head = {
      en: "  load of experts by layer: ▄ the mean, █ twice the mean or more, · none",
      zh: "  各層專家的負載：▄ 為平均，█ 為平均的兩倍以上，· 為零",
    };
    lines.push(context.say(head), ...loadMap(loads));
  }
  const line = now?.line ?? balance.decisions.at(-1)?.line;
  if (line) lines.push(`  ⇄ ${context.say(line)}`);
  const sum = summarizeBalance(balance, lastStep);
  if (sum.moves > 0) {
    lines.push(
      context.say(
        {
          en: "    moved {moves} times: {bytes} in {seconds}; won {won} so far, forecast {forecast}",
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

/** How long ranks were in the all-to-all, and over which links rows went. */
function exchangeLine(context: Context, { allToAllSeconds, sentRows }: BalanceMessage): string | undefined {
  if (!allToAllSeconds) return undefined;
  const { least, median, most, rank } = allToAllSeconds;
  const all = sentRows ? sentRows.rank + sentRows.node + sentRows.network : 0;
  const share = (rows: number) => `${((100 * rows) / all).toFixed(0)} %`;
  const links =
    sentRows && all > 0
      ? context.say(
          {
            en: "; rows: {rank} stay on their rank, {node} go inside a node, {network} over the network",
            zh: "；行：{rank} 留在原進程，{node} 在節點內，{network} 經網路",
          },
          { rank: share(sentRows.rank), node: share(sentRows.node), network: share(sentRows.network) },
        )
      : "";
  const times = {
    least: formatSeconds(least),
    median: formatSeconds(median),
    most: formatSeconds(most),
    at: rank,
  };
  return (
    context.say(
      {
        en: "  all-to-all of a step: {least} to {most} (rank {at}), median {median}",
        zh: "  每步 all-to-all：{least} 至 {most}（進程 {at}），中位數 {median}",
      },
      times,
    ) + links
  );
}
