/** Axes. This file also runs inside the page, so it imports nothing. */

export type Scale = {
  readonly log: boolean;
  readonly from: number;
  readonly to: number;
  /** Pixel of a value. */
  at(value: number): number;
  readonly ticks: readonly number[];
};

/** Linear scale whose ticks are round numbers; it reaches a little beyond the data, to the pixel range [start, end]. */
export function linearScale(low: number, high: number, start: number, end: number, count: number): Scale {
  const spread = high > low ? high - low : Math.abs(high) || 1;
  const step = niceStep(spread / Math.max(1, count));
  const from = high > low ? low - spread * 0.04 : low - spread / 2;
  const to = high > low ? high + spread * 0.04 : high + spread / 2;
  const ticks: number[] = [];
  for (let i = Math.ceil(from / step); i * step <= to + step * 1e-9; i++) ticks.push(i * step);
  return {
    log: false,
    from,
    to,
    ticks,
    at: (value) => start + ((value - from) / (to - from)) * (end - start),
  };
}

/** Logarithmic scale for positive data; ticks at 1, 2, 5 times powers of ten, thinned to about `count`. */
export function logScale(low: number, high: number, start: number, end: number, count: number): Scale {
  const from = low / 1.08;
  const to = high > low ? high * 1.08 : low * 2;
  const width = Math.log(to / from);
  const candidates: number[] = [];
  for (let power = Math.floor(Math.log10(from)); power <= Math.ceil(Math.log10(to)); power++) {
    for (const digit of [1, 2, 5]) {
      const tick = digit * 10 ** power;
      if (tick >= from && tick <= to) candidates.push(tick);
    }
  }
  const tens = candidates.filter((tick) => Math.abs(Math.log10(tick) - Math.round(Math.log10(tick))) < 1e-9);
  const ticks = candidates.length <= count + 2 || tens.length < 2 ? candidates : tens;
  const every = Math.ceil(ticks.length / (count + 2));
  return {
    log: true,
    from,
    to,
    ticks: ticks.filter((_, i) => i % every === 0),
    at: (value) => start + (Math.log(Math.max(value, from) / from) / width) * (end - start),
  };
}

function niceStep(raw: number): number {
  const power = 10 ** Math.floor(Math.log10(raw));
  const digit = raw / power;
  return (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10) * power;
}

/** A number for an axis or a read-out: four significant digits at most, thousands as k, M, G. */
export function shortNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e9) return `${trim(value / 1e9)} G`;
  if (size >= 1e6) return `${trim(value / 1e6)} M`;
  if (size >= 1e4) return `${trim(value / 1e3)} k`;
  if (size < 1e-3) return value.toExponential(1).replace(".0e", "e").replace("e-", "e−");
  return trim(value);
}

function trim(value: number): string {
  const size = Math.abs(value);
  const text = value.toFixed(size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4);
  return (text.includes(".") ? text.replace(/\.?0+$/, "") : text).replace("-", "−");
}
