import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { fail } from "./errors.ts";
import {
  type Declaration,
  declareFrame,
  type Frame,
  HEADER_BYTES,
  headerBytes,
  isHeader,
  matrixFrame,
  parseFrames,
  scalarsFrame,
  segmentName,
  segmentNumber,
} from "./segment.ts";

type Pending = { step: number[]; t: number[]; value: number[] };

/**
 * Appends series to the segments of a folder. One writer at a time: the controller, who holds the run's lock.
 * Values wait in memory until `flush`; after it they survive the end of the process, after `sync` the end of the machine.
 *
 * @example
 * const writer = SeriesWriter.open("runs/or/1a2b/series");
 * writer.append("loss", 17, Date.now() / 1000, 2.31);
 * writer.appendMatrix("load", 17, Date.now() / 1000, layers, experts, counts);
 * writer.flush();
 */
export class SeriesWriter {
  readonly folder: string;
  readonly #segmentBytes: number;
  #fd: number;
  #number: number;
  #bytes: number;
  /** Names declared in the segment that is open. */
  #ids = new Map<string, number>();
  readonly #declared = new Map<string, Declaration>();
  #scalars = new Map<string, Pending>();
  #matrices: { name: string; step: number; t: number; data: Int32Array | Float32Array }[] = [];

  private constructor(folder: string, segmentBytes: number, last: number) {
    this.folder = folder;
    this.#segmentBytes = segmentBytes;
    this.#number = last;
    this.#fd = -1;
    this.#bytes = 0;
  }

  /** Opens the folder, making it if need be. Goes on in the last segment if that ends cleanly, else leaves it and begins another. */
  static open(folder: string, { segmentBytes = 64 << 20 } = {}): SeriesWriter {
    mkdirSync(folder, { recursive: true });
    const numbers = readdirSync(folder).flatMap((name) => segmentNumber(name) ?? []);
    const last = Math.max(0, ...numbers);
    const writer = new SeriesWriter(folder, segmentBytes, last);
    if (last === 0 || !writer.#resume()) writer.#begin();
    return writer;
  }

  /** One value of a series at a step. `t` is in seconds since 1970. NaN and infinities are kept as they are. */
  append(name: string, step: number, t: number, value: number): void {
    this.#declare({ name, type: "scalar", rows: 0, columns: 0 });
    let pending = this.#scalars.get(name);
    if (!pending) {
      pending = { step: [], t: [], value: [] };
      this.#scalars.set(name, pending);
    }
    pending.step.push(step);
    pending.t.push(t);
    pending.value.push(value);
  }

  /** One matrix of a series at a step, row by row. Its shape and type are fixed by the first one. */
  appendMatrix(
    name: string,
    step: number,
    t: number,
    rows: number,
    columns: number,
    data: Int32Array | Float32Array,
  ): void {
    if (data.length !== rows * columns)
      throw new RangeError(`${data.length} numbers are not ${rows} x ${columns}`);
    this.#declare({ name, type: data instanceof Int32Array ? "int32" : "float32", rows, columns });
    this.#matrices.push({ name, step, t, data: data.slice() });
  }

  /** Writes what waits. If the disk refuses, the segment is cut back to its last whole frame, and everything still waits. */
  flush(): void {
    if (this.#scalars.size === 0 && this.#matrices.length === 0) return;
    if (this.#bytes > this.#segmentBytes) {
      closeSync(this.#fd);
      this.#begin();
    }
    const before = new Map(this.#ids);
    const frames: Buffer[] = [];
    const idOf = (name: string): number => {
      const known = this.#ids.get(name);
      if (known !== undefined) return known;
      const id = this.#ids.size;
      this.#ids.set(name, id);
      frames.push(declareFrame(id, this.#declared.get(name) as Declaration));
      return id;
    };
    for (const [name, { step, t, value }] of this.#scalars) {
      const id = idOf(name);
      frames.push(scalarsFrame(id, step, t, value));
    }
    for (const { name, step, t, data } of this.#matrices) {
      const id = idOf(name);
      frames.push(matrixFrame(id, step, t, data));
    }
    try {
      this.#write(Buffer.concat(frames));
    } catch (cause) {
      this.#ids = before;
      throw cause;
    }
    this.#scalars = new Map();
    this.#matrices = [];
  }

  /** Flushes and waits for the disk. */
  sync(): void {
    this.flush();
    fsyncSync(this.#fd);
  }

  close(): void {
    try {
      this.sync();
    } finally {
      closeSync(this.#fd);
    }
  }

  #declare(declaration: Declaration): void {
    const known = this.#declared.get(declaration.name);
    if (!known) this.#declared.set(declaration.name, declaration);
    else if (shape(known) !== shape(declaration)) {
      throw fail(
        "STORE_SHAPE",
        { name: known.name, was: shape(known), now: shape(declaration) },
        { file: this.folder },
      );
    }
  }

  /** A new segment that declares all that is known, so that the last segment alone tells every shape. */
  #begin(): void {
    this.#number++;
    this.#fd = openSync(join(this.folder, segmentName(this.#number)), "ax");
    this.#bytes = 0;
    this.#ids = new Map([...this.#declared.keys()].map((name, id) => [name, id]));
    const declarations = [...this.#declared.values()].map((declaration, id) => declareFrame(id, declaration));
    this.#write(Buffer.concat([headerBytes(), ...declarations]));
  }

  /** Takes the last segment up again; false if it ends in a torn or damaged frame, after learning the shapes that are known. */
  #resume(): boolean {
    const path = join(this.folder, segmentName(this.#number));
    const last = wholeFrames(path);
    this.#learn(last.frames);
    if (!last.clean) {
      for (let n = this.#number - 1; n > 0 && this.#declared.size === 0; n--) {
        this.#learn(wholeFrames(join(this.folder, segmentName(n))).frames);
      }
      return false;
    }
    for (const frame of last.frames) {
      if (frame.kind === "declare") this.#ids.set(frame.declaration.name, frame.id);
    }
    this.#fd = openSync(path, "a");
    this.#bytes = last.bytes;
    return true;
  }

  #learn(frames: readonly Frame[]): void {
    for (const frame of frames) {
      if (frame.kind === "declare") this.#declared.set(frame.declaration.name, frame.declaration);
    }
  }

  #write(bytes: Buffer): void {
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
    } catch (cause) {
      ftruncateSync(this.#fd, this.#bytes);
      throw cause;
    }
    this.#bytes += bytes.length;
  }
}

/** Frames of a segment, and whether it ends with the last of them. A segment that is gone or has no header holds none. */
function wholeFrames(path: string): { frames: Frame[]; clean: boolean; bytes: number } {
  if (!existsSync(path)) return { frames: [], clean: false, bytes: 0 };
  const bytes = readFileSync(path);
  if (!isHeader(bytes)) return { frames: [], clean: false, bytes: bytes.length };
  const { frames, consumed } = parseFrames(bytes.subarray(HEADER_BYTES), HEADER_BYTES);
  return { frames, clean: HEADER_BYTES + consumed === bytes.length, bytes: bytes.length };
}

const shape = ({ type, rows, columns }: Declaration) =>
  type === "scalar" ? "scalar" : `${type} [${rows} x ${columns}]`;
