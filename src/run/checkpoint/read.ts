import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { basename, join } from "node:path";
import { sha256 } from "../../base/node.ts";
import { fail } from "../errors.ts";
import { type Dtype, isDtype, widthOf } from "./dtype.ts";

/** A box of a logical tensor: where it starts and how large it is in each dimension. */
export type Box = { readonly start: readonly number[]; readonly shape: readonly number[] };

/** A box of which the bytes stand in row-major order in `file` from `start` on. */
type Piece = {
  readonly offsets: readonly number[];
  readonly sizes: readonly number[];
  readonly file: string;
  readonly start: number;
};

/** A logical tensor, in whatever pieces the ranks saved it. */
export type Stored = {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly pieces: readonly Piece[];
  /**
   * What it is called in a Hugging Face folder. With `{}` in its name it is one matrix for each expert (its first dimension), of the
   * rows of which the names have equal parts.
   */
  readonly names?: readonly string[];
  /** The model's class keeps it in its own number format. */
  readonly keep?: boolean;
};

export type Checkpoint = {
  readonly path: string;
  readonly step: number;
  /** What the modules computed in. */
  readonly param: Dtype;
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly sha256: string }[];
  readonly tensors: Readonly<Record<string, Stored>>;
};

const SCHEMA = "tessera.checkpoint/v1";
const PART_BYTES = 4 << 20;

export const damaged = (file: string, why: string, cause?: unknown) =>
  fail("RUN_CHECKPOINT_DAMAGED", { path: file, why }, { file }, cause);

/** What a checkpoint says it holds. Throws RUN_CHECKPOINT_DAMAGED for one that contradicts itself; `verify` looks at the bytes. */
export function openCheckpoint(path: string): Checkpoint {
  const manifest = readManifest(join(path, "manifest.json"));
  const file = join(path, "index.json");
  const tensors = parsed(file, (text) => {
    const found = (JSON.parse(text) as { tensors: Record<string, Stored> }).tensors;
    for (const [name, { dtype, shape, pieces }] of Object.entries(found)) {
      const sized = (list: readonly number[]) =>
        list.length === shape.length && list.every(Number.isSafeInteger);
      const good = isDtype(dtype) && pieces.every((one) => sized(one.offsets) && sized(one.sizes));
      if (!good) throw new TypeError(name);
    }
    return found;
  });
  return { path, tensors, ...manifest };
}

function readManifest(file: string): Pick<Checkpoint, "step" | "param" | "files"> {
  return parsed(file, (text) => {
    const { schema, step, files, facts } = JSON.parse(text) as Record<string, unknown> &
      Pick<Checkpoint, "step" | "files">;
    if (sealOf(text) !== /^ "sha256": "(\w+)",$/m.exec(text)?.[1]) throw new TypeError("its checksum");
    if (schema !== SCHEMA) throw new TypeError(`schema ${String(schema)}`);
    const param = (facts as Record<string, unknown>)["param"] ?? "float32";
    if (!isDtype(param)) throw new TypeError(`param ${String(param)}`);
    return { step, files, param };
  });
}

/** The engine seals the document without its checksum, in one line; what lies on disk is the same text in many. */
const sealOf = (text: string): string =>
  sha256(
    text
      .replace(/^ "sha256": "\w+",\n/m, "")
      .trimEnd()
      .replaceAll(/,\n */g, ", ")
      .replaceAll(/\n */g, ""),
  );

function parsed<T>(file: string, read: (text: string) => T): T {
  try {
    return read(readFileSync(file, "utf8"));
  } catch (cause) {
    throw damaged(file, (cause as Error).message, cause);
  }
}

/** Reads every file once and compares it with the manifest; `read` hears of every part. Throws RUN_CHECKPOINT_DAMAGED. */
export async function verify({ path, files }: Checkpoint, read: (bytes: number) => void): Promise<void> {
  const part = Buffer.allocUnsafeSlow(PART_BYTES);
  for (const { name, bytes, sha256: wanted } of files) {
    const file = join(path, basename(name));
    const hash = createHash("sha256");
    let size = 0;
    await reading(file, async () => {
      await using handle = await open(file);
      for (;;) {
        const { bytesRead } = await handle.read(part, 0, part.length);
        if (bytesRead === 0) break;
        hash.update(part.subarray(0, bytesRead));
        size += bytesRead;
        read(bytesRead);
      }
    });
    if (size !== bytes) throw damaged(file, `${size} bytes, not ${bytes}`);
    if (hash.digest("hex") !== wanted) throw damaged(file, "sha256");
  }
}

async function reading<T>(file: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    // What `read` was told to hand the bytes to may have its own say.
    throw code === undefined || !/^E[A-Z]+$/.test(code) ? cause : damaged(file, code, cause);
  }
}

/** Files of ranks that are held open at one time: there may be more ranks than a process may have files. */
const OPEN = 64;

/** Reads boxes of logical tensors out of whatever pieces they lie in. */
export class PieceReader {
  readonly #path: string;
  readonly #open = new Map<string, FileHandle>();

  constructor(path: string) {
    this.#path = path;
  }

  /** The numbers of a box in row-major order, aligned. Throws RUN_CHECKPOINT_DAMAGED when the pieces do not fill it. */
  async read(name: string, { dtype, pieces }: Stored, box: Box): Promise<Uint8Array> {
    const width = widthOf(dtype);
    const volume = product(box.shape);
    const out = Buffer.allocUnsafeSlow(volume * width);
    let filled = 0;
    for (const piece of pieces) {
      const shared = [...runs(piece, box)];
      const [first, last] = [shared[0], shared.at(-1)];
      if (!first || !last) continue;
      const size = (last.from + last.count - first.from) * width;
      const alone = shared.length === 1;
      const bytes = alone
        ? out.subarray(first.to * width, first.to * width + size)
        : Buffer.allocUnsafe(size);
      await this.#fill(bytes, piece.file, piece.start + first.from * width);
      for (const { from, to, count } of shared) {
        filled += count;
        if (!alone)
          bytes.copy(out, to * width, (from - first.from) * width, (from - first.from + count) * width);
      }
    }
    if (filled !== volume) throw damaged(join(this.#path, "index.json"), `${name}: ${filled}/${volume}`);
    return out;
  }

  async close(): Promise<void> {
    for (const handle of this.#open.values()) await handle.close();
    this.#open.clear();
  }

  async #fill(bytes: Uint8Array, name: string, at: number): Promise<void> {
    const file = join(this.#path, basename(name));
    await reading(file, async () => {
      const handle = await this.#handle(file);
      for (let done = 0; done < bytes.length; ) {
        const { bytesRead } = await handle.read(bytes, done, bytes.length - done, at + done);
        if (bytesRead === 0) throw damaged(file, `ends before byte ${at + bytes.length}`);
        done += bytesRead;
      }
    });
  }

  async #handle(file: string): Promise<FileHandle> {
    const known = this.#open.get(file);
    if (known) return known;
    const [oldest] = this.#open;
    if (oldest && this.#open.size >= OPEN) {
      this.#open.delete(oldest[0]);
      await oldest[1].close();
    }
    const handle = await open(file);
    this.#open.set(file, handle);
    return handle;
  }
}

export const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1);

type Run = { readonly from: number; readonly to: number; readonly count: number };

/** Numbers that a piece and a box share, as runs that stand together in both: from which in the piece to which in the box. */
export function* runs(
  { offsets, sizes }: Pick<Piece, "offsets" | "sizes">,
  { start, shape }: Box,
): Generator<Run> {
  const low = start.map((at, d) => Math.max(at, offsets[d] as number));
  const length = start.map(
    (at, d) =>
      Math.min(at + (shape[d] as number), (offsets[d] as number) + (sizes[d] as number)) - (low[d] as number),
  );
  if (length.some((n) => n <= 0)) return;
  // From dimension `whole` + 1 on both are taken whole: what is shared there stands together.
  let whole = Math.max(0, shape.length - 1);
  while (whole > 0 && length[whole] === sizes[whole] && length[whole] === shape[whole]) whole--;
  const count = product(length.slice(whole));
  const place = (index: readonly number[], origin: readonly number[], extent: readonly number[]) =>
    low.reduce(
      (at, first, d) => at * (extent[d] as number) + first + (index[d] ?? 0) - (origin[d] as number),
      0,
    );
  const outer = length.slice(0, whole);
  for (let i = 0, all = product(outer); i < all; i++) {
    let rest = i;
    const index = outer.map(() => 0);
    for (let d = outer.length - 1; d >= 0; d--) {
      index[d] = rest % (outer[d] as number);
      rest = Math.floor(rest / (outer[d] as number));
    }
    yield { from: place(index, offsets, sizes), to: place(index, start, shape), count };
  }
}
