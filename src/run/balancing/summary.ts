import type { BalanceState } from "../journal/index.ts";

/** What the moves of a run came to. Seconds won are what moves save until the next one or `lastStep`, less what they cost. */
export type BalanceSummary = {
  readonly moves: number;
  readonly bytes: number;
  readonly moveSeconds: number;
  readonly wonSeconds: number;
  /** The same by what was forecast when they were decided; over the moves whose gain was measured. */
  readonly forecastWonSeconds: number;
  readonly measured: number;
};

export function summarizeBalance({ decisions }: BalanceState, lastStep: number): BalanceSummary {
  const moves = decisions.filter((one) => one.moved?.ok);
  let won = 0;
  let forecastWon = 0;
  for (const [i, { moved, gain, forecast }] of moves.entries()) {
    const from = moved?.step ?? 0;
    const steps = Math.max(0, (moves[i + 1]?.moved?.step ?? Math.max(lastStep, from)) - from);
    if (!gain) continue;
    won += gain.savedSecondsPerStep * steps - gain.moveSeconds;
    forecastWon += forecast.savedSecondsPerStep * steps - forecast.moveSeconds;
  }
  return {
    moves: moves.length,
    bytes: moves.reduce((sum, one) => sum + (one.moved?.bytes ?? 0), 0),
    moveSeconds: moves.reduce((sum, one) => sum + (one.moved?.seconds ?? 0), 0),
    wonSeconds: won,
    forecastWonSeconds: forecastWon,
    measured: moves.filter((one) => one.gain).length,
  };
}
