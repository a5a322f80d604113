import { Random } from "../base/index.ts";
import type { Tensor } from "./safetensors.ts";

/**
 * Puts whole samples into rows of equal length, best fit decreasing: longest first, each into the row where it leaves least room.
 * No sample is cut or spread over two rows; one that is longer than a row is left out and named. Tokens are conserved:
 * in = packed + left out, and `packed` holds every kept sample once.
 */
export type Encoded = {
  readonly id: string;
  readonly tokens: readonly number[];
  /** Tokens from this index on are learned; those before are context. */
  readonly learnFrom: number;
};

export type Packed = {
  readonly rows: number;
  readonly length: number;
  readonly inputIds: Int32Array;
  /** Aligned with `inputIds`; -100 where no loss is taken (the engine shifts by one). */
  readonly labels: Int32Array;
  /** Number of the sample within its row, from 1; 0 is padding. Attention can be kept inside a sample with it. */
  readonly segments: Int32Array;
  /** Ids of the samples of every row, in order. */
  readonly members: readonly (readonly string[])[];
  readonly leftOut: readonly string[];
  readonly tokens: number;
  readonly learned: number;
};

export const NO_LOSS = -100;

/** Rows of sample indexes: best fit decreasing in O(samples x length) through rows bucketed by the room they have left. */
export function bestFit(lengths: readonly number[], length: number): number[][] {
  const order = lengths
    .map((_length, i) => i)
    .sort((a, b) => (lengths[b] as number) - (lengths[a] as number) || a - b);
  const rows: number[][] = [];
  const byRoom: number[][] = Array.from({ length: length + 1 }, () => []);
  for (const index of order) {
    const size = lengths[index] as number;
    if (size > length || size === 0) continue;
    let room = size;
    while (room <= length && byRoom[room]?.length === 0) room++;
    let row: number;
    if (room > length) {
      row = rows.push([]) - 1;
      room = length;
    } else {
      row = byRoom[room]?.pop() as number;
    }
    rows[row]?.push(index);
    byRoom[room - size]?.push(row);
  }
  return rows;
}

/** Packs and then shuffles the rows by the seed, because best fit leaves them sorted by length. */
export function packSamples(
  samples: readonly Encoded[],
  options: { length: number; padId: number; seed: number },
): Packed {
  const { length, padId, seed } = options;
  const random = new Random(`pack/${seed}`);
  const rows = random.shuffle(
    bestFit(
      samples.map((sample) => sample.tokens.length),
      length,
    ),
  );
  const inputIds = new Int32Array(rows.length * length).fill(padId);
  const labels = new Int32Array(rows.length * length).fill(NO_LOSS);
  const segments = new Int32Array(rows.length * length);
  let tokens = 0;
  let learned = 0;
  const members = rows.map((row, r) => {
    let at = r * length;
    return random.shuffle(row).map((index, place) => {
      const sample = samples[index] as Encoded;
      inputIds.set(sample.tokens, at);
      labels.set(sample.tokens.slice(sample.learnFrom), at + sample.learnFrom);
      segments.fill(place + 1, at, at + sample.tokens.length);
      at += sample.tokens.length;
      tokens += sample.tokens.length;
      learned += sample.tokens.length - sample.learnFrom;
      return sample.id;
    });
  });
  const leftOut = samples
    .filter(({ tokens: each }) => each.length > length || each.length === 0)
    .map(({ id }) => id);
  return { rows: rows.length, length, inputIds, labels, segments, members, leftOut, tokens, learned };
}

/** The tensors that the engine reads: `input_ids`, `labels`, `segments`, each int32 [rows, length]. */
export function packedTensors(packed: Packed): Record<string, Tensor> {
  const shape = [packed.rows, packed.length];
  return {
    input_ids: { dtype: "I32", shape, data: packed.inputIds },
    labels: { dtype: "I32", shape, data: packed.labels },
    segments: { dtype: "I32", shape, data: packed.segments },
  };
}
