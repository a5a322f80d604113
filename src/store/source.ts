import { fail } from "./errors.ts";

/** Values of one name in the order they came: a step that was trained again is there twice. */
export type ScalarSeries = {
  readonly step: Float64Array;
  /** Seconds since 1970. */
  readonly t: Float64Array;
  readonly value: Float64Array;
};

export type MatrixSeries = {
  readonly type: "int32" | "float32";
  readonly rows: number;
  readonly columns: number;
  readonly step: readonly number[];
  readonly t: readonly number[];
  read(i: number): Int32Array | Float32Array;
};

/** Where measured values are read from. */
export type SeriesSource = {
  names(): { readonly scalars: string[]; readonly matrices: string[] };
  has(name: string): boolean;
  scalar(name: string): ScalarSeries;
  matrix(name: string): MatrixSeries;
};

/** Series by name, filled from what a run's telemetry tells. */
export class MemorySeries implements SeriesSource {
  readonly #scalars = new Map<string, { step: number[]; t: number[]; value: number[] }>();
  readonly #matrices = new Map<
    string,
    { rows: number; columns: number; step: number[]; t: number[]; data: (Int32Array | Float32Array)[] }
  >();

  append(name: string, step: number, t: number, value: number): void {
    const series = this.#scalars.get(name) ?? { step: [], t: [], value: [] };
    this.#scalars.set(name, series);
    series.step.push(step);
    series.t.push(t);
    series.value.push(value);
  }

  appendMatrix(
    name: string,
    step: number,
    t: number,
    rows: number,
    columns: number,
    data: Int32Array | Float32Array,
  ): void {
    const series = this.#matrices.get(name) ?? { rows, columns, step: [], t: [], data: [] };
    const first = series.data[0];
    const sameType = !first || first.constructor === data.constructor;
    if (series.rows !== rows || series.columns !== columns || !sameType) {
      const now = `${data.constructor.name} [${rows} x ${columns}]`;
      throw fail("STORE_SHAPE", { name, was: `[${series.rows} x ${series.columns}]`, now });
    }
    this.#matrices.set(name, series);
    series.step.push(step);
    series.t.push(t);
    series.data.push(data.slice());
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
    return {
      step: Float64Array.from(found.step),
      t: Float64Array.from(found.t),
      value: Float64Array.from(found.value),
    };
  }

  matrix(name: string): MatrixSeries {
    const found = this.#matrices.get(name);
    if (!found) throw this.#missing(name);
    const { rows, columns, step, t, data } = found;
    return {
      type: data[0] instanceof Float32Array ? "float32" : "int32",
      rows,
      columns,
      step,
      t,
      read: (i) => {
        const matrix = data[i];
        if (!matrix) throw new RangeError(`matrix ${i} of ${data.length}`);
        return matrix;
      },
    };
  }

  #missing(name: string) {
    const { scalars, matrices } = this.names();
    return fail("STORE_NO_SERIES", { name, names: [...scalars, ...matrices].join(", ") || "-" });
  }
}
