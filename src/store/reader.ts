import { closeSync, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";
import { fail } from "./errors.ts";
import {
  type Declaration,
  type Frame,
  HEADER_BYTES,
  isHeader,
  matrixData,
  type MatrixType,
  parseFrames,
  segmentNumber,
} from "./segment.ts";

/** Columns of a scalar series in the order they were written; a run that went back to a checkpoint writes a step again. */
export type ScalarSeries = {
  readonly step: Float64Array;
  readonly t: Float64Array;
  readonly value: Float64Array;
};

/** A series of matrices; the numbers stay on disk until `read(i)`. */
export type MatrixSeries = {
  readonly type: MatrixType;
  readonly rows: number;
  readonly columns: number;
  readonly step: readonly number[];
  readonly t: readonly number[];
  read(i: number): Int32Array | Float32Array;
};

/** Bytes at the end of a segment that are no whole frame: being written, torn by a crash, or damaged. */
export type Tail = { readonly file: string; readonly at: number; readonly bytes: number };

type Segment = { offset: number; size: number; readonly declared: Map<number, Declaration> };
type Place = { readonly file: string; readonly at: number };
type Scalars = { length: number; step: Float64Array; t: Float64Array; value: Float64Array };
type Matrices = { declaration: Declaration; step: number[]; t: number[]; places: Place[] };

/** Reads the series of a folder, also while they are being written: `refresh` takes what has come since. */
export class SeriesReader {
  readonly folder: string;
  readonly #segments = new Map<string, Segment>();
  readonly #scalars = new Map<string, Scalars>();
  readonly #matrices = new Map<string, Matrices>();

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Reads new whole frames of all segments; returns how many. A folder that is not there yet holds nothing. */
  refresh(): number {
    let count = 0;
    for (const file of segmentFiles(this.folder)) count += this.#refreshSegment(file);
    return count;
  }

  names(): { readonly scalars: string[]; readonly matrices: string[] } {
    return { scalars: [...this.#scalars.keys()].sort(), matrices: [...this.#matrices.keys()].sort() };
  }

  has(name: string): boolean {
    return this.#scalars.has(name) || this.#matrices.has(name);
  }

  scalar(name: string): ScalarSeries {
    const found = this.#scalars.get(name);
    if (!found) throw this.#missing(name);
    const part = (column: Float64Array) => column.subarray(0, found.length);
    return { step: part(found.step), t: part(found.t), value: part(found.value) };
  }

  matrix(name: string): MatrixSeries {
    const found = this.#matrices.get(name);
    if (!found) throw this.#missing(name);
    const { declaration, step, t, places } = found;
    const { rows, columns } = declaration;
    const type = declaration.type as MatrixType;
    return {
      type,
      rows,
      columns,
      step,
      t,
      read: (i) => {
        const place = places[i];
        if (!place) throw new RangeError(`matrix ${i} of ${places.length}`);
        return matrixData(readBytes(join(this.folder, place.file), place.at, rows * columns * 4), type);
      },
    };
  }

  tails(): Tail[] {
    return [...this.#segments]
      .filter(([, { offset, size }]) => offset < size)
      .map(([file, { offset, size }]) => ({ file, at: offset, bytes: size - offset }));
  }

  #refreshSegment(file: string): number {
    const path = join(this.folder, file);
    let segment = this.#segments.get(file);
    if (!segment) {
      segment = { offset: 0, size: 0, declared: new Map() };
      this.#segments.set(file, segment);
    }
    const bytes = readBytes(path, segment.offset);
    segment.size = segment.offset + bytes.length;
    let skip = 0;
    if (segment.offset === 0) {
      if (!isHeader(bytes)) return 0;
      skip = HEADER_BYTES;
    }
    const { frames, consumed } = parseFrames(bytes.subarray(skip), segment.offset + skip);
    segment.offset += skip + consumed;
    for (const frame of frames) this.#take(frame, file, segment.declared);
    return frames.length;
  }

  #take(frame: Frame, file: string, declared: Map<number, Declaration>): void {
    if (frame.kind === "declare") {
      declared.set(frame.id, frame.declaration);
      return;
    }
    const declaration = declared.get(frame.id);
    if (!declaration) return;
    if (frame.kind === "scalars") {
      const series = this.#scalars.get(declaration.name) ?? emptyScalars();
      this.#scalars.set(declaration.name, extend(series, frame));
      return;
    }
    const series = this.#matrices.get(declaration.name) ?? { declaration, step: [], t: [], places: [] };
    this.#matrices.set(declaration.name, series);
    series.step.push(frame.step);
    series.t.push(frame.t);
    series.places.push({ file, at: frame.dataAt });
  }

  #missing(name: string) {
    const { scalars, matrices } = this.names();
    const names = [...scalars, ...matrices].join(", ") || "-";
    return fail("STORE_NO_SERIES", { name, folder: this.folder, names });
  }
}

/** All series of a folder as they are now. */
export function readSeries(folder: string): SeriesReader {
  const reader = new SeriesReader(folder);
  reader.refresh();
  return reader;
}

function segmentFiles(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => segmentNumber(name) !== undefined)
      .sort((a, b) => (segmentNumber(a) as number) - (segmentNumber(b) as number));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw cause;
  }
}

function readBytes(path: string, from: number, count?: number): Buffer {
  const fd = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(count ?? Math.max(0, fstatSync(fd).size - from));
    let filled = 0;
    while (filled < bytes.length) {
      const read = readSync(fd, bytes, filled, bytes.length - filled, from + filled);
      if (read === 0) break;
      filled += read;
    }
    return bytes.subarray(0, filled);
  } finally {
    closeSync(fd);
  }
}

const emptyScalars = (): Scalars => ({
  length: 0,
  step: new Float64Array(16),
  t: new Float64Array(16),
  value: new Float64Array(16),
});

function extend(series: Scalars, frame: Extract<Frame, { kind: "scalars" }>): Scalars {
  const length = series.length + frame.step.length;
  const grow = (column: Float64Array, added: Float64Array): Float64Array => {
    let out = column;
    if (length > column.length) {
      out = new Float64Array(Math.max(length, column.length * 2));
      out.set(column);
    }
    out.set(added, series.length);
    return out;
  };
  return {
    length,
    step: grow(series.step, frame.step),
    t: grow(series.t, frame.t),
    value: grow(series.value, frame.value),
  };
}
