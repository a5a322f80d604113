import { err, ok, type Result } from "../base/index.ts";
import { fail } from "./errors.ts";
import { hashTrace, type HashTable } from "./foresight.ts";
import { makeTrace, type Trace } from "./trace.ts";

/** A pre-scan: what every token of the data chose in each layer. Samples of `length` tokens follow each other, the same in all layers. */
export type PreScan = {
  readonly ids: readonly number[];
  readonly traces: readonly Trace[];
  /** Absent where the file says nothing of samples. */
  readonly length?: number;
};

type Place = { readonly file?: string; readonly line?: number };
const bad = (why: string, place: Place): Result<never> => err(fail("EXPERTS_TRACE", { why }, place));
const isWhole = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/**
 * Reads a routing trace: NDJSON, a line a layer, `{"layer":0,"experts":64,"k":6,"length":128,"chosen":[...]}`. Errors: EXPERTS_TRACE with
 * the line.
 */
export function readTraces(text: string, file?: string): Result<PreScan> {
  const layers: { id: number; trace: Trace; length: unknown; place: Place }[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const place = { ...(file === undefined ? {} : { file }), line: i + 1 };
    const value = parse(line);
    if (value === undefined) return bad("not JSON / 不是 JSON", place);
    const { layer, experts, k, chosen, length } = value;
    if (!isWhole(layer)) return bad(`layer is ${JSON.stringify(layer)} / 層`, place);
    if (!isWhole(experts) || experts < 1) return bad(`experts is ${JSON.stringify(experts)} / 專家數`, place);
    if (!Array.isArray(chosen)) return bad('no "chosen" / 沒有 "chosen"', place);
    const made = makeTrace(experts, k as number, chosen as number[]);
    if (!made.ok) return bad(String(made.error.params["why"]), place);
    layers.push({ id: layer, trace: made.value, length, place });
  }
  const first = layers[0];
  if (!first) return bad("no layer / 沒有任何層", file === undefined ? {} : { file });
  layers.sort((a, b) => a.id - b.id);
  for (const [i, { id, trace, length, place }] of layers.entries()) {
    if (layers[i - 1]?.id === id) return bad(`layer ${id} twice / 重複`, place);
    if (trace.experts !== first.trace.experts) {
      return bad(`layer ${id}: ${trace.experts} experts, not ${first.trace.experts} / 專家數不同`, place);
    }
    if (trace.tokens !== first.trace.tokens || length !== first.length) {
      return bad(`layer ${id}: ${trace.tokens} tokens, not ${first.trace.tokens} / 詞元數不同`, place);
    }
    if (length !== undefined && !(isWhole(length) && length > 0 && trace.tokens % length === 0)) {
      return bad(`length ${JSON.stringify(length)} of ${trace.tokens} tokens / 長度不符`, place);
    }
  }
  return ok({
    ids: layers.map(({ id }) => id),
    traces: layers.map(({ trace }) => trace),
    ...(first.length === undefined ? {} : { length: first.length as number }),
  });
}

/**
 * Reads the pre-scan of hash-routed layers: no model is run.
 *
 * @param table JSON `{"experts":384,"layers":{"0":[[experts of token id 0],[of 1],...]}}`
 * @param tokens NDJSON, a line a sample: its token ids, equally many in each
 * Errors: EXPERTS_TRACE.
 */
export function readHashed(
  table: string,
  tokens: string,
  tableFile?: string,
  tokensFile?: string,
): Result<PreScan> {
  const ids: number[] = [];
  let length = 0;
  for (const [i, line] of tokens.split("\n").entries()) {
    if (line.trim() === "") continue;
    const place = { ...(tokensFile === undefined ? {} : { file: tokensFile }), line: i + 1 };
    const sample = parseAny(line);
    if (!Array.isArray(sample) || sample.length === 0 || !sample.every(isWhole)) {
      return bad("a sample is an array of token ids / 每行一個詞元編號陣列", place);
    }
    if (length > 0 && sample.length !== length) {
      return bad(`${sample.length} token ids, not ${length} / 長度不同`, place);
    }
    length = sample.length;
    for (const id of sample) ids.push(id as number);
  }
  if (length === 0) return bad("no sample / 沒有樣本", tokensFile === undefined ? {} : { file: tokensFile });
  const place = tableFile === undefined ? {} : { file: tableFile };
  const value = parse(table);
  const experts = value?.["experts"];
  const layers = value?.["layers"];
  if (!isWhole(experts) || typeof layers !== "object" || layers === null) {
    return bad('{"experts":n,"layers":{"0":[[...]]}}', place);
  }
  const traces: { id: number; trace: Trace }[] = [];
  for (const [id, rows] of Object.entries(layers)) {
    if (!/^\d+$/.test(id) || !Array.isArray(rows) || rows.length === 0) return bad(`layer "${id}"`, place);
    const k = Array.isArray(rows[0]) ? rows[0].length : 0;
    if (!rows.every((row) => Array.isArray(row) && row.length === k && row.every(isWhole)))
      return bad(`layer ${id}: top-k`, place);
    const hash: HashTable = { experts, k, table: Int32Array.from(rows.flat() as number[]) };
    const made = hashTrace(ids, hash);
    if (!made.ok) return bad(`layer ${id}: ${String(made.error.params["why"])}`, place);
    traces.push({ id: Number(id), trace: made.value });
  }
  if (traces.length === 0) return bad("no layer / 沒有任何層", place);
  traces.sort((a, b) => a.id - b.id);
  return ok({ ids: traces.map(({ id }) => id), traces: traces.map(({ trace }) => trace), length });
}

/** Layers of two pre-scans of the same samples. Errors: EXPERTS_TRACE. */
export function joinScans(one: PreScan, two: PreScan): Result<PreScan> {
  const [a, b] = [one.traces[0] as Trace, two.traces[0] as Trace];
  if (a.experts !== b.experts) return bad(`${a.experts} and ${b.experts} experts / 專家數不同`, {});
  if (a.tokens !== b.tokens || one.length !== two.length) {
    return bad(`${a.tokens} and ${b.tokens} tokens / 詞元數不同`, {});
  }
  const both = [one, two].flatMap((scan) =>
    scan.ids.map((id, l) => ({ id, trace: scan.traces[l] as Trace })),
  );
  both.sort((x, y) => x.id - y.id);
  const twice = both.find(({ id }, i) => both[i - 1]?.id === id);
  if (twice) return bad(`layer ${twice.id} twice / 重複`, {});
  return ok({ ...one, ids: both.map(({ id }) => id), traces: both.map(({ trace }) => trace) });
}

function parseAny(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function parse(text: string): Record<string, unknown> | undefined {
  const value = parseAny(text);
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}
