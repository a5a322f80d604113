import { BYTE_CHARS, byteText, pieces } from "./pretokenize.ts";

/**
 * Byte-level byte-pair encoding, trained here. Pairs are counted over distinct pieces weighted by frequency; the most frequent pair is
 * merged, ties go to the pair that sorts first, so equal text gives an equal vocabulary on every machine. Counts are
 * kept up to date by visiting only the pieces that hold the merged pair.
 */
export type Vocabulary = {
  /** Token text (byte characters) by id; the special tokens come first. */
  readonly tokens: readonly string[];
  readonly merges: readonly (readonly [string, string])[];
  readonly special: readonly string[];
};

export type TrainOptions = {
  readonly vocabularySize: number;
  readonly special: readonly string[];
  /** A pair that occurs less often is not worth a token. */
  readonly minimumCount?: number;
};

type Piece = { symbols: string[]; readonly count: number };

export function trainVocabulary(texts: Iterable<string>, options: TrainOptions): Vocabulary {
  const counts = new Map<string, number>();
  for (const text of texts) {
    for (const piece of pieces(text)) counts.set(piece, (counts.get(piece) ?? 0) + 1);
  }
  const words: Piece[] = [...counts].map(([text, count]) => ({ symbols: [...byteText(text)], count }));
  const pairs = new Map<string, { count: number; readonly words: Set<number> }>();
  words.forEach((_word, index) => count(pairs, words, index, 1));

  const tokens = [...options.special, ...BYTE_CHARS];
  const merges: [string, string][] = [];
  while (tokens.length < options.vocabularySize) {
    const best = mostFrequent(pairs);
    if (!best || best.count < (options.minimumCount ?? 2)) break;
    const [left, right] = best.pair.split(" ") as [string, string];
    merges.push([left, right]);
    tokens.push(left + right);
    // A copy, because counting takes words out of the set that is walked.
    for (const index of Array.from(best.words)) {
      count(pairs, words, index, -1);
      const word = words[index] as Piece;
      word.symbols = merge(word.symbols, left, right);
      count(pairs, words, index, 1);
    }
  }
  return { tokens: [...new Set(tokens)], merges, special: options.special };
}

function count(
  pairs: Map<string, { count: number; readonly words: Set<number> }>,
  words: readonly Piece[],
  index: number,
  direction: 1 | -1,
): void {
  const { symbols, count: times } = words[index] as Piece;
  for (let i = 0; i + 1 < symbols.length; i++) {
    const key = `${symbols[i]} ${symbols[i + 1]}`;
    let entry = pairs.get(key);
    if (!entry) {
      entry = { count: 0, words: new Set() };
      pairs.set(key, entry);
    }
    entry.count += direction * times;
    if (direction > 0) entry.words.add(index);
    else entry.words.delete(index);
  }
}

function mostFrequent(pairs: ReadonlyMap<string, { readonly count: number; readonly words: Set<number> }>) {
  let best: { pair: string; count: number; words: Set<number> } | undefined;
  for (const [pair, entry] of pairs) {
    if (entry.count === 0) continue;
    if (!best || entry.count > best.count || (entry.count === best.count && pair < best.pair)) {
      best = { pair, count: entry.count, words: entry.words };
    }
  }
  return best;
}

export function merge(symbols: readonly string[], left: string, right: string): string[] {
  const out: string[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === left && symbols[i + 1] === right) {
      out.push(left + right);
      i++;
    } else {
      out.push(symbols[i] as string);
    }
  }
  return out;
}
