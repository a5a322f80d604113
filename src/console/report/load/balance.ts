import {
  type BalanceMessage,
  linkLine,
  paths,
  readKinds,
  type RunState,
  summarizeBalance,
} from "../../../run/index.ts";
import type { BalancePart } from "../types.ts";

type Exchange = NonNullable<BalancePart["last"]>["exchange"];

/** Steps of the chart at most. */
const KEPT = 600;

/** What the run did about its experts' places: from the journal what was decided, from the digests what came of it. */
export function readBalance(folder: string, { balance }: RunState): BalancePart | null {
  const told = readKinds(paths(folder).series, ["balance"]) as BalanceMessage[];
  // The last writing of a step is the one that counts.
  const steps = [...new Map(told.map((one) => [one.step, one])).values()].sort((a, b) => a.step - b.step);
  if (steps.length === 0 && balance.decisions.length === 0 && !balance.placed) return null;
  const stride = Math.ceil(steps.length / KEPT);
  const last = steps.at(-1);
  // A controller that came back tells none until links are timed again.
  const links = steps.findLast((one) => one.links)?.links;
  const sum = summarizeBalance(balance, last?.step ?? 0);
  return {
    ranks: steps.filter((_, i) => i % stride === 0 || i === steps.length - 1).map(worstLayer),
    last: last
      ? {
          maxVio: Math.max(...last.maxVio),
          cv: Math.max(...last.cv),
          entropy: Math.min(...last.entropy),
          dead: last.deadExperts.reduce((all, n) => all + n, 0),
          dropped: steps.some((one) => one.droppedRows === null)
            ? null
            : steps.reduce((all, one) => all + (one.droppedRows ?? 0), 0),
          exchange: exchangeOf(last),
          links: links ? linkLine(links) : null,
        }
      : null,
    decisions: balance.decisions.map(({ step, line, layers, moved, gain, forecast }) => ({
      step,
      line,
      planned: layers.length > 0 ? Math.max(...layers.map((one) => one.after)) : null,
      realised: gain?.after.slowest ?? null,
      bytes: moved?.ok ? moved.bytes : null,
      forecastSeconds: forecast.savedSecondsPerStep,
      measuredSeconds: gain?.savedSecondsPerStep ?? null,
      measuredPayback: gain?.paybackSteps ?? null,
      moved: moved?.ok ?? false,
    })),
    moves: sum.moves,
    bytes: sum.bytes,
    wonSeconds: sum.wonSeconds,
    forecastWonSeconds: sum.forecastWonSeconds,
    placed: balance.placed,
  };
}

function exchangeOf({ allToAllSeconds, sentRows }: BalanceMessage): Exchange {
  // Older runs did not tell rows.
  const all = sentRows ? sentRows.rank + sentRows.node + sentRows.network : 0;
  if (!allToAllSeconds || !sentRows || all === 0) return null;
  return { ...allToAllSeconds, shares: [sentRows.rank / all, sentRows.node / all, sentRows.network / all] };
}

function worstLayer({ step, realised, bound, planned }: BalanceMessage): BalancePart["ranks"][number] {
  const at = realised.reduce((worst, value, i) => (value > (realised[worst] as number) ? i : worst), 0);
  return { step, realised: realised[at] ?? 1, bound: bound[at] ?? 1, planned: planned[at] ?? null };
}
