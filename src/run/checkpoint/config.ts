/**
 * The config.json of an export: that of the model with the trained number format, keys sorted. Numbers stay as they are written, and
 * what Python writes and JSON does not know (Infinity, NaN) stays too: other stacks read it. Throws SyntaxError.
 */
export function exportedConfig(text: string, dtype: string): string {
  const marked = text.replaceAll(/"(?:[^"\\]|\\.)*"|-?(?:Infinity|NaN|\d[\d.eE+-]*)/g, (token) =>
    token.startsWith('"') ? token : JSON.stringify(`${MARK}${token}`),
  );
  const { torch_dtype: _old, ...settings } = JSON.parse(marked) as Record<string, unknown>;
  return `${pretty({ ...settings, dtype }, "\n")}\n`;
}

/** Stands before what was written as a number. */
const MARK = "\u0000";

function pretty(value: unknown, line: string): string {
  const inner = `${line}  `;
  if (Array.isArray(value))
    return block(
      value.map((one) => pretty(one, inner)),
      "[]",
      line,
    );
  if (value !== null && typeof value === "object") {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return block(
      entries.map(([key, one]) => `${ascii(key)}: ${pretty(one, inner)}`),
      "{}",
      line,
    );
  }
  if (typeof value !== "string") return JSON.stringify(value);
  return value.startsWith(MARK) ? value.slice(1) : ascii(value);
}

const block = (parts: readonly string[], ends: string, line: string): string =>
  parts.length === 0 ? ends : `${ends[0]}${line}  ${parts.join(`,${line}  `)}${line}${ends[1]}`;

const ascii = (text: string): string =>
  JSON.stringify(text).replaceAll(
    /[\u007f-\uffff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
