import { formatBytes, formatSeconds, type Text } from "../base/index.ts";

/** Something that lowers the worst rank's tokens or the bytes they take, at a price. */
export type Remedy = {
  readonly kind: "move" | "copy" | "split-microbatch" | "recompute";
  /** Tokens of the worst rank afterwards / before. */
  readonly tokensFactor: number;
  /** Bytes per token afterwards / before. */
  readonly bytesFactor: number;
  /** Extra seconds a step, a one-off move spread over the horizon. */
  readonly secondsPerStep: number;
};

export type GuardRequest = {
  /** Tokens that the worst rank received, per recorded micro-batch, oldest first. */
  readonly worstTokens: readonly number[];
  readonly bytesPerToken: number;
  /** Bytes taken before any token arrives, and what the device can hold. */
  readonly fixedBytes: number;
  readonly budgetBytes: number;
  /** Chance per micro-batch of staying below the forecast; default 0.999. */
  readonly quantile?: number;
  readonly remedies: readonly Remedy[];
};

export type GuardVerdict = {
  readonly forecastTokens: number;
  readonly forecastBytes: number;
  readonly headroomBytes: number;
  readonly quantile: number;
  /** Nothing to do, the cheapest remedy that is enough, or none is. */
  readonly action: "none" | "act" | "impossible";
  readonly remedies: readonly Remedy[];
  readonly line: Text;
};

const NAMES: Readonly<Record<Remedy["kind"], Text>> = {
  move: { en: "move experts", zh: "搬動專家" },
  copy: { en: "copy hot experts", zh: "複製熱門專家" },
  "split-microbatch": { en: "halve the micro-batch", zh: "微批次減半" },
  recompute: { en: "recompute activations", zh: "重算激活" },
};

/**
 * Forecasts the worst rank's tokens of the next micro-batch and picks the cheapest remedy, or pair of remedies, that keeps it within
 * the budget. The largest of many rank loads follows a Gumbel law: its parameters come from the recent mean and spread, the level
 * from an exponential mean so that drift is followed, and no forecast is below what the last 20 micro-batches already showed.
 */
export function guardMemory(request: GuardRequest): GuardVerdict {
  const quantile = request.quantile ?? 0.999;
  const forecastTokens = gumbelQuantile(request.worstTokens, quantile);
  const bytesOf = (tokens: number, factor = 1) =>
    request.fixedBytes + tokens * request.bytesPerToken * factor;
  const forecastBytes = bytesOf(forecastTokens);
  const headroomBytes = request.budgetBytes - forecastBytes;
  const base = { forecastTokens, forecastBytes, headroomBytes, quantile };
  if (headroomBytes >= 0) {
    const line = { en: "the worst rank stays within its memory", zh: "最忙的進程仍在記憶體之內" };
    return { ...base, action: "none", remedies: [], line };
  }
  const sets = request.remedies.flatMap((a, i) => [[a], ...request.remedies.slice(i + 1).map((b) => [a, b])]);
  const [forecast, budget] = [formatBytes(forecastBytes), formatBytes(request.budgetBytes)];
  const enough = sets
    .map((set) => ({
      set,
      seconds: set.reduce((sum, remedy) => sum + remedy.secondsPerStep, 0),
      bytes: bytesOf(
        forecastTokens * set.reduce((f, remedy) => f * remedy.tokensFactor, 1),
        set.reduce((f, remedy) => f * remedy.bytesFactor, 1),
      ),
    }))
    .filter(({ bytes }) => bytes <= request.budgetBytes)
    .sort((a, b) => a.seconds - b.seconds || a.set.length - b.set.length);
  const best = enough[0];
  if (!best) {
    const line = {
      en: `the busiest rank may need ${forecast} of ${budget} and no remedy is enough: shorter rows, or more ranks`,
      zh: `最忙的進程可能需要 ${forecast}，上限 ${budget}，且沒有足夠的處置：請縮短序列或增加進程`,
    };
    return { ...base, action: "impossible", remedies: [], line };
  }
  const names = (lang: "en" | "zh") => best.set.map(({ kind }) => NAMES[kind][lang]).join(" + ");
  const seconds = formatSeconds(best.seconds);
  return {
    ...base,
    action: "act",
    remedies: best.set,
    line: {
      en: `the busiest rank may need ${forecast} of ${budget}: ${names("en")}${best.seconds > 0 ? ` (${seconds} a step)` : ""}`,
      zh: `最忙的進程可能需要 ${forecast}，上限 ${budget}：${names("zh")}${best.seconds > 0 ? `（每步多 ${seconds}）` : ""}`,
    },
  };
}

/** Quantile of the next value of a series of maxima. */
function gumbelQuantile(series: readonly number[], quantile: number): number {
  const recent = series.slice(-100);
  if (recent.length === 0) return 0;
  let level = recent[0] as number;
  let square = 0;
  for (let t = 1; t < recent.length; t++) {
    const value = recent[t] as number;
    square += (value - level) ** 2;
    level += Math.max(0.1, 1 / (t + 1)) * (value - level);
  }
  const n = recent.length;
  // A few values say little about their spread: widened by 1 + 2/n, and by at least 2 % of the level.
  const spread = Math.max(Math.sqrt(square / Math.max(1, n - 1)) * (1 + 2 / n), 0.02 * level);
  const scale = (spread * Math.sqrt(6)) / Math.PI;
  const place = level - 0.5772156649 * scale;
  const tail = place - scale * Math.log(-Math.log(quantile));
  return Math.max(tail, ...series.slice(-20));
}
