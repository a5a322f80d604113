/** Longest line that is kept; a longer one is dropped and counted, so that a broken peer cannot exhaust the memory. */
const LINE_BYTES = 64 * 1024 * 1024;

export const encodeLine = (message: unknown): string => `${JSON.stringify(message)}\n`;

/**
 * Splits a byte stream into JSON values, one a line. A line that is no JSON is counted in `garbage` and skipped; a last line
 * without its newline waits for the rest (or is lost with its sender). Python's bare NaN and Infinity become words.
 */
export class LineDecoder {
  #parts: Buffer[] = [];
  #bytes = 0;
  #skipping = false;
  readonly #limit: number;
  garbage = 0;

  constructor(limit: number = LINE_BYTES) {
    this.#limit = limit;
  }

  push(chunk: Uint8Array): unknown[] {
    const values: unknown[] = [];
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    for (let start = 0; start < bytes.length; ) {
      const end = bytes.indexOf(0x0a, start);
      const piece = bytes.subarray(start, end < 0 ? bytes.length : end);
      if (!this.#skipping) {
        if (this.#bytes + piece.length > this.#limit) {
          this.garbage++;
          this.#skipping = true;
          this.#forget();
        } else {
          // A copy: the stream may use its buffer again.
          this.#parts.push(end < 0 ? Buffer.from(piece) : piece);
          this.#bytes += piece.length;
        }
      }
      if (end < 0) break;
      if (!this.#skipping) this.#line(values);
      this.#skipping = false;
      start = end + 1;
    }
    return values;
  }

  #line(values: unknown[]): void {
    const text = Buffer.concat(this.#parts).toString("utf8").trim();
    this.#forget();
    if (text === "") return;
    const value =
      parse(text) ?? parse(text.replaceAll(/(?<=[:,[]\s*)(NaN|-?Infinity)(?=\s*[,}\]])/g, '"$1"'));
    if (value === undefined) this.garbage++;
    else values.push(value);
  }

  #forget(): void {
    this.#parts = [];
    this.#bytes = 0;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
