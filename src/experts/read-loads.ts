import { err, ok, type Result } from "../base/index.ts";
import { fail } from "./errors.ts";
import { type Loads, makeLoads } from "./loads.ts";

/**
 * Reads loads in any of the documented forms; a file that holds several steps gives one `Loads` per step, oldest first.
 * - JSON: `{"layers": {"3": [..], ...}}`, `{"layers": [[..], ...]}`, `[[..], ...]`, `[..]` (one layer), or `{"steps": [those, ...]}`
 * - NDJSON: one of those a line, or telemetry lines `{"kind":"load","step":7,"layers":[3,4],"counts":{"dtype":"int32","shape":[2,E],"b64":".."}}`
 * - CSV: `layer,expert,load` or `step,layer,expert,load`, with or without that header; every pair must be there
 * Errors: EXPERTS_LOADS_*, with the line for NDJSON and CSV.
 */
export function readLoads(text: string, file?: string): Result<Loads[]> {
  const trimmed = text.trim();
  const place = file === undefined ? {} : { file };
  if (trimmed === "") return err(fail("EXPERTS_LOADS_EMPTY", { why: "no text / 沒有內容" }, place));
  if (trimmed[0] !== "{" && trimmed[0] !== "[") return readCsv(trimmed, place);
  const whole = parse(trimmed);
  if (whole !== undefined) return fromJson(whole, place);
  return readLines(trimmed, place);
}

type Place = { readonly file?: string };

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const format = (why: string, place: object): Result<never> =>
  err(fail("EXPERTS_LOADS_FORMAT", { why }, place));

function fromJson(value: unknown, place: object): Result<Loads[]> {
  if (isRecord(value) && Array.isArray(value["steps"])) {
    const steps: Loads[] = [];
    for (const step of value["steps"]) {
      const one = oneStep(step, place);
      if (!one.ok) return one;
      steps.push(one.value);
    }
    return steps.length > 0 ? ok(steps) : err(fail("EXPERTS_LOADS_EMPTY", { why: "steps: []" }, place));
  }
  const one = oneStep(value, place);
  return one.ok ? ok([one.value]) : one;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function oneStep(value: unknown, place: object): Result<Loads> {
  if (isRecord(value) && isRecord(value["counts"]) && Array.isArray(value["layers"])) {
    return fromTelemetry(value["layers"], value["counts"], place);
  }
  const layers = isRecord(value) ? (value["layers"] ?? value["loads"]) : value;
  if (isRecord(layers)) {
    const entries = Object.entries(layers);
    const odd = entries.find(([key]) => !/^\d+$/.test(key));
    if (odd) return format(`layer "${odd[0]}"`, place);
    entries.sort((a, b) => Number(a[0]) - Number(b[0]));
    if (entries.some(([, row]) => !Array.isArray(row)))
      return format("a layer that is no array / 層不是陣列", place);
    return placed(
      makeLoads(
        entries.map(([, row]) => row as number[]),
        entries.map(([key]) => Number(key)),
      ),
      place,
    );
  }
  if (!Array.isArray(layers)) return format('no "layers" / 沒有 "layers"', place);
  const rows = layers.length > 0 && !Array.isArray(layers[0]) ? [layers] : layers;
  if (rows.some((row) => !Array.isArray(row))) return format("a layer that is no array / 層不是陣列", place);
  return placed(makeLoads(rows as number[][]), place);
}

/** The wire form of the engine's load messages: little-endian int32 counts in base64. */
function fromTelemetry(ids: unknown[], counts: Record<string, unknown>, place: object): Result<Loads> {
  const shape = counts["shape"];
  const { dtype, b64 } = counts;
  if (dtype !== "int32" || typeof b64 !== "string" || !Array.isArray(shape) || shape.length !== 2) {
    return format("counts: int32 [layers, experts] in base64 / 需要 base64 的 int32", place);
  }
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(b64) || b64.length % 4 !== 0) {
    return format("counts: damaged base64 / base64 已損壞", place);
  }
  const bytes = Uint8Array.from(atob(b64), (char) => char.charCodeAt(0));
  const experts = Number(shape[1]);
  if (bytes.length !== ids.length * experts * 4 || shape[0] !== ids.length) {
    return format(`counts: ${bytes.length} B for ${ids.length} x ${experts}`, place);
  }
  const view = new DataView(bytes.buffer);
  const rows = ids.map((_, l) =>
    Float64Array.from({ length: experts }, (_, e) => view.getInt32((l * experts + e) * 4, true)),
  );
  return placed(makeLoads(rows, ids.map(Number)), place);
}

function placed<T>(result: Result<T>, place: object): Result<T> {
  if (result.ok) return result;
  return err(fail(result.error.code as "EXPERTS_LOADS_EMPTY", result.error.params, place));
}

/** Lines of the same step (telemetry: one line per pipeline stage) are put together; lines without a step are steps of their own. */
function readLines(text: string, place: Place): Result<Loads[]> {
  const steps = new Map<string, Loads[]>();
  let at = 0;
  for (const line of text.split("\n")) {
    at++;
    if (line.trim() === "") continue;
    const here = { ...place, line: at };
    const value = parse(line);
    if (value === undefined) {
      const word = /\b(NaN|-?Infinity)\b/.exec(line)?.[1];
      return format(word ? `${word} is no number of JSON / JSON 沒有 ${word}` : "not JSON / 不是 JSON", here);
    }
    if (isRecord(value) && value["kind"] !== undefined && value["kind"] !== "load") continue;
    const one = oneStep(value, here);
    if (!one.ok) return one;
    // An attempt that trains a step again tells it again; what it adds up to is a step of its own.
    const key =
      isRecord(value) && value["step"] !== undefined
        ? `${String(value["attempt"])}/${String(value["step"])}`
        : `l${at}`;
    steps.set(key, [...(steps.get(key) ?? []), one.value]);
  }
  const out: Loads[] = [];
  for (const parts of steps.values()) {
    const joined = join(parts);
    const one = placed(joined, place);
    if (!one.ok) return one;
    out.push(one.value);
  }
  return out.length > 0
    ? ok(out)
    : err(fail("EXPERTS_LOADS_EMPTY", { why: "no load lines / 沒有負載行" }, place));
}

/** Layers of several messages of one step; the same layer from several sources is added up. */
function join(parts: readonly Loads[]): Result<Loads> {
  const rows = new Map<number, Float64Array>();
  for (const part of parts) {
    part.ids.forEach((id, l) => {
      const row = part.values.subarray(l * part.experts, (l + 1) * part.experts);
      const old = rows.get(id);
      rows.set(id, old && old.length === row.length ? old.map((w, e) => w + (row[e] as number)) : row);
    });
  }
  const ids = [...rows.keys()].sort((a, b) => a - b);
  return makeLoads(
    ids.map((id) => rows.get(id) as Float64Array),
    ids,
  );
}

function readCsv(text: string, place: Place): Result<Loads[]> {
  const lines = text.split(/\r?\n/);
  const header = /^[a-z_ ,;\t"]+$/i.test(lines[0] as string);
  const names = header
    ? (lines[0] as string).split(",").map((name) => name.trim().toLowerCase())
    : (lines[0] as string).split(",").length === 4
      ? ["step", "layer", "expert", "load"]
      : ["layer", "expert", "load"];
  const column = (name: string) => names.indexOf(name);
  const [stepAt, layerAt, expertAt] = [column("step"), column("layer"), column("expert")];
  const loadAt = Math.max(column("load"), column("tokens"), column("count"));
  if (layerAt < 0 || expertAt < 0 || loadAt < 0) return format("layer,expert,load", { ...place, line: 1 });
  const steps = new Map<number, Map<number, Map<number, number>>>();
  for (let i = header ? 1 : 0; i < lines.length; i++) {
    const line = lines[i] as string;
    if (line.trim() === "") continue;
    const here = { ...place, line: i + 1 };
    const cells = line.split(",").map((cell) => (cell.trim() === "" ? Number.NaN : Number(cell)));
    if (cells.length !== names.length) return format(`${cells.length} columns, not ${names.length}`, here);
    const [layer, expert] = [cells[layerAt] as number, cells[expertAt] as number];
    const load = cells[loadAt] as number;
    if (![layer, expert].every((id) => Number.isSafeInteger(id) && id >= 0)) return format(line, here);
    if (!Number.isFinite(load) || load < 0) {
      return err(fail("EXPERTS_LOADS_VALUE", { layer, expert, value: String(cells[loadAt]) }, here));
    }
    const step = stepAt < 0 ? 0 : (cells[stepAt] as number);
    const layers = steps.get(step) ?? steps.set(step, new Map()).get(step);
    const row = layers?.get(layer) ?? layers?.set(layer, new Map()).get(layer);
    row?.set(expert, (row.get(expert) ?? 0) + load);
  }
  const out: Loads[] = [];
  for (const [, layers] of [...steps].sort((a, b) => a[0] - b[0])) {
    const ids = [...layers.keys()].sort((a, b) => a - b);
    const rows: Float64Array[] = [];
    for (const id of ids) {
      const row = layers.get(id) as Map<number, number>;
      const experts = Math.max(...row.keys()) + 1;
      if (row.size !== experts)
        return format(`layer ${id}: ${row.size} of ${experts} experts / 缺專家`, place);
      rows.push(Float64Array.from({ length: experts }, (_, e) => row.get(e) as number));
    }
    const one = placed(makeLoads(rows, ids), place);
    if (!one.ok) return one;
    out.push(one.value);
  }
  return out.length > 0 ? ok(out) : err(fail("EXPERTS_LOADS_EMPTY", { why: "no rows / 沒有資料列" }, place));
}

/** Mean loads of several steps of the same layers. Errors: EXPERTS_HISTORY. */
export function meanLoads(steps: readonly Loads[]): Result<Loads> {
  const first = steps[0];
  if (!first) return err(fail("EXPERTS_HISTORY", { why: "0 steps / 步" }));
  if (steps.some((step) => step.experts !== first.experts || step.ids.join() !== first.ids.join())) {
    return err(fail("EXPERTS_HISTORY", { why: "steps of different layers / 各步的層不同" }));
  }
  const values = new Float64Array(first.values.length);
  for (const step of steps) {
    for (let i = 0; i < values.length; i++)
      values[i] = (values[i] as number) + (step.values[i] as number) / steps.length;
  }
  return ok({ ...first, values });
}
