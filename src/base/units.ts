const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** Bytes with three significant digits and a binary unit: 1536 -> "1.50 KiB". */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < BINARY.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${value} B` : `${threeDigits(value)} ${BINARY[unit]}`;
}

/** Seconds for a person: "40 µs", "340 ms", "12.3 s", "4 m 05 s", "2 h 03 m". */
export function formatSeconds(seconds: number): string {
  if (seconds < 0) return `-${formatSeconds(-seconds)}`;
  if (seconds > 0 && seconds < 0.0005) return `${threeDigits(seconds * 1e6)} µs`;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${threeDigits(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} m`;
}

/** Counts with a decimal suffix: 1598837347742 -> "1.60 T". */
export function formatCount(count: number): string {
  const steps = ["", " K", " M", " G", " T", " P"];
  let value = count;
  let unit = 0;
  while (Math.abs(value) >= 1000 && unit < steps.length - 1) {
    value /= 1000;
    unit++;
  }
  return unit === 0 ? String(count) : `${threeDigits(value)}${steps[unit]}`;
}

function threeDigits(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}
