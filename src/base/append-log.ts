import { closeSync, fsyncSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { sha256 } from "./hash.ts";

/** One line as stored: sequence number, first 16 hex digits of the line's SHA-256 chain, the record. */
type Line<T> = { readonly n: number; readonly c: string; readonly r: T };

/**
 * Append-only file of JSON lines, each fsynced before `append` returns and chained by checksum to the one before, so that a
 * torn tail (a crash in the middle of a write) is recognised and cut, and a change in the middle is found.
 * One writer at a time; the owner holds a lock elsewhere.
 */
export class AppendLog<T> {
  readonly path: string;
  readonly #fd: number;
  #count: number;
  #chain: string;
  #bytes: number;

  private constructor(path: string, fd: number, count: number, chain: string, bytes: number) {
    this.path = path;
    this.#fd = fd;
    this.#count = count;
    this.#chain = chain;
    this.#bytes = bytes;
  }

  /** Opens for writing: returns the log, the records already there, and how many bytes of torn tail were cut. */
  static open<T>(path: string): { log: AppendLog<T>; records: T[]; cutBytes: number } {
    mkdirSync(dirname(path), { recursive: true });
    const fd = openSync(path, "a+");
    const { records, goodBytes, totalBytes, chain } = scan<T>(path);
    if (goodBytes < totalBytes) ftruncateSync(fd, goodBytes);
    return {
      log: new AppendLog(path, fd, records.length, chain, goodBytes),
      records,
      cutBytes: totalBytes - goodBytes,
    };
  }

  /** Records of a log that another process may be writing: a torn tail is left out, the file is not touched. */
  static read<T>(path: string): T[] {
    return scan<T>(path).records;
  }

  /** Durable when it returns. Throws the system's error (disk full, say) with nothing half-written left behind. */
  append(record: T): number {
    const n = this.#count;
    const c = chainOf(this.#chain, n, record);
    const bytes = Buffer.from(`${JSON.stringify({ n, c, r: record } satisfies Line<T>)}\n`, "utf8");
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
      fsyncSync(this.#fd);
    } catch (cause) {
      ftruncateSync(this.#fd, this.#bytes);
      throw cause;
    }
    this.#count++;
    this.#bytes += bytes.length;
    this.#chain = c;
    return n;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function chainOf(previous: string, n: number, record: unknown): string {
  return sha256(`${previous}\n${n}\n${JSON.stringify(record)}`).slice(0, 16);
}

function scan<T>(path: string): { records: T[]; goodBytes: number; totalBytes: number; chain: string } {
  const bytes = readFileSync(path);
  const records: T[] = [];
  let chain = "";
  let start = 0;
  for (;;) {
    const end = bytes.indexOf(0x0a, start);
    if (end < 0) break;
    const line = parse<T>(bytes.toString("utf8", start, end));
    if (!line || line.n !== records.length || line.c !== chainOf(chain, line.n, line.r)) break;
    records.push(line.r);
    chain = line.c;
    start = end + 1;
  }
  return { records, goodBytes: start, totalBytes: bytes.length, chain };
}

function parse<T>(text: string): Line<T> | undefined {
  try {
    return JSON.parse(text) as Line<T>;
  } catch {
    return undefined;
  }
}
