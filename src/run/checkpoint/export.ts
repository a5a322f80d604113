import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { TesseraError } from "../../base/index.ts";
import { syncFolder } from "../../base/node.ts";
import { fail } from "../errors.ts";
import { exportedConfig } from "./config.ts";
import { convert, type WEIGHTS } from "./dtype.ts";
import { type Entry, entriesOf, fileOf, shardName, shardsOf } from "./plan.ts";
import { type Box, type Checkpoint, openCheckpoint, PieceReader, type Stored, verify } from "./read.ts";

export type ExportOptions = {
  /** Folder of a published checkpoint, of any layout. */
  readonly checkpoint: string;
  /** Folder with the model's config.json and tokenizer. */
  readonly model: string;
  /** Appears complete or not at all; one that is there is replaced. */
  readonly out: string;
  readonly maxShardBytes?: number | undefined;
  /** Format of the weights on disk when it is not the one they were trained in; the config names the trained one. */
  readonly dtype?: (typeof WEIGHTS)[number] | undefined;
  readonly signal?: AbortSignal;
  /** Bytes checked and written, of all. */
  readonly onProgress?: (done: number, total: number) => void;
};

export type Exported = {
  readonly step: number;
  readonly tensors: number;
  readonly shards: number;
  readonly bytes: number;
};

const SHARD_BYTES = 4 * 1024 ** 3;
/** What is in memory of a tensor at one time. */
const CHUNK_BYTES = 32 << 20;
const TOKENIZER_FILES = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "tokenizer.model",
  "chat_template.jinja",
  "generation_config.json",
];

/**
 * A checkpoint as a Hugging Face folder, the same bytes whatever layout it was trained under: every byte is checked first, then each
 * tensor goes from the ranks' files to its place, a part at a time. Throws RUN_CHECKPOINT_DAMAGED, RUN_CHECKPOINT_NAMES, RUN_MODEL,
 * RUN_EXPORT_WRITE.
 */
export async function exportCheckpoint(options: ExportOptions): Promise<Exported> {
  const { checkpoint: path, model, out, signal, dtype } = options;
  const checkpoint = openCheckpoint(path);
  const entries = entriesOf(checkpoint, dtype ?? checkpoint.param);
  const shards = shardsOf(entries, options.maxShardBytes ?? SHARD_BYTES);
  const config = configOf(model, checkpoint.param);
  const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  const total = bytes + checkpoint.files.reduce((sum, file) => sum + file.bytes, 0);
  let done = 0;
  const passed = (more: number) => {
    signal?.throwIfAborted();
    done += more;
    options.onProgress?.(done, total);
  };
  await verify(checkpoint, passed);
  const temporary = join(dirname(out), `.${basename(out)}.tmp`);
  try {
    rmSync(temporary, { recursive: true, force: true });
    mkdirSync(temporary, { recursive: true });
    await writeShards(checkpoint, shards, temporary, passed);
    if (shards.length > 1)
      await writeNew(join(temporary, "model.safetensors.index.json"), indexOf(shards, bytes));
    await writeNew(join(temporary, "config.json"), config);
    for (const file of TOKENIZER_FILES) {
      if (existsSync(join(model, file)))
        await writeNew(join(temporary, file), readFileSync(join(model, file)));
    }
    publish(temporary, out);
  } catch (cause) {
    // What is half written takes room that someone needs.
    rmSync(temporary, { recursive: true, force: true });
    const { code } = cause as NodeJS.ErrnoException;
    if (cause instanceof TesseraError || code === undefined || signal?.aborted) throw cause;
    throw fail("RUN_EXPORT_WRITE", { path: out, why: code }, { file: out }, cause);
  }
  return { step: checkpoint.step, tensors: entries.length, shards: shards.length, bytes };
}

function configOf(model: string, dtype: string): string {
  const file = join(model, "config.json");
  try {
    return exportedConfig(readFileSync(file, "utf8"), dtype);
  } catch (cause) {
    throw fail("RUN_MODEL", { folder: model, why: (cause as Error).message }, { file }, cause);
  }
}

async function writeShards(
  { path, tensors }: Checkpoint,
  shards: readonly Entry[][],
  folder: string,
  passed: (bytes: number) => void,
): Promise<void> {
  const reader = new PieceReader(path);
  try {
    for (const [i, shard] of shards.entries()) {
      await using file = await open(join(folder, shardName(i, shards.length)), "wx");
      const { header, entries } = fileOf(shard);
      await writeAll(file, header);
      for (const entry of entries) {
        const stored = tensors[entry.source] as Stored;
        for (const box of chunks(entry)) {
          const numbers = convert(await reader.read(entry.source, stored, box), stored.dtype, entry.dtype);
          await writeAll(file, numbers);
          passed(numbers.byteLength);
        }
      }
      await file.sync();
    }
  } finally {
    await reader.close();
  }
}

/** An entry's box in parts of some rows, in order. */
function* chunks({ box: { start, shape }, shape: seen, bytes }: Entry): Generator<Box> {
  const along = shape.length - seen.length;
  const rows = seen[0];
  if (rows === undefined) return yield { start, shape };
  const each = Math.max(1, Math.floor((CHUNK_BYTES * rows) / Math.max(1, bytes)));
  const replaced = (list: readonly number[], value: number) => list.map((n, d) => (d === along ? value : n));
  for (let row = 0; row < rows; row += each) {
    yield {
      start: replaced(start, (start[along] as number) + row),
      shape: replaced(shape, Math.min(each, rows - row)),
    };
  }
}

function indexOf(shards: readonly Entry[][], bytes: number): string {
  const places = shards.flatMap((shard, i) =>
    shard.map(({ name }) => [name, shardName(i, shards.length)] as const),
  );
  const map = Object.fromEntries(places.sort(([a], [b]) => (a < b ? -1 : 1)));
  return `${JSON.stringify({ metadata: { total_size: bytes }, weight_map: map }, null, 2)}\n`;
}

async function writeNew(path: string, content: string | Uint8Array): Promise<void> {
  await using file = await open(path, "wx");
  await writeAll(file, typeof content === "string" ? Buffer.from(content) : content);
  await file.sync();
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength; ) at += (await file.write(bytes, at)).bytesWritten;
}

function publish(temporary: string, out: string): void {
  syncFolder(temporary);
  const old = join(dirname(out), `.${basename(out)}.old`);
  rmSync(old, { recursive: true, force: true });
  if (existsSync(out)) renameSync(out, old);
  renameSync(temporary, out);
  syncFolder(dirname(out));
  rmSync(old, { recursive: true, force: true });
}
