import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Tokenizer as Reference } from "@huggingface/tokenizers";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { merge, trainVocabulary } from "./bpe.ts";
import { SPECIAL_TOKENS } from "./format.ts";
import { BYTE_CHARS, byteText, pieces } from "./pretokenize.ts";
import { Tokenizer, trainTokenizer } from "./tokenizer.ts";

const TEXTS = [
  "max 12 x1 + 7 x2\nst\n3 x1 + 4 x2 <= 120\nend\n",
  "A workshop makes chairs and tables. Profit per unit: chairs 12, tables 7.",
  "一家木工坊生產椅子和桌子。單位利潤：椅子12、桌子7。",
  "A workshop plans chairs, tables and shelves for 12 weeks.",
];
const tokenizer = trainTokenizer(TEXTS, { vocabularySize: 340, special: SPECIAL_TOKENS });
const folder = mkdtempSync(join(tmpdir(), "tessera-tokenizer-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The obvious trainer: count every pair of every piece anew before each merge. */
function slowMerges(texts: readonly string[], size: number): [string, string][] {
  const words = new Map<string, { symbols: string[]; count: number }>();
  for (const piece of texts.flatMap(pieces)) {
    const word = words.get(piece) ?? { symbols: [...byteText(piece)], count: 0 };
    word.count++;
    words.set(piece, word);
  }
  const merges: [string, string][] = [];
  while (merges.length < size - SPECIAL_TOKENS.length - BYTE_CHARS.length) {
    const counts = new Map<string, number>();
    for (const { symbols, count } of words.values()) {
      for (let i = 0; i + 1 < symbols.length; i++) {
        const key = `${symbols[i]} ${symbols[i + 1]}`;
        counts.set(key, (counts.get(key) ?? 0) + count);
      }
    }
    const best = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0];
    if (!best || best[1] < 2) break;
    const pair = best[0].split(" ") as [string, string];
    merges.push(pair);
    for (const word of words.values()) word.symbols = merge(word.symbols, ...pair);
  }
  return merges;
}

test("the trainer finds the merges of the slow, obvious one", () => {
  expect(tokenizer.vocabulary.merges.length).toBeGreaterThan(30);
  expect(tokenizer.vocabulary.merges).toEqual(slowMerges(TEXTS, 340));
});

test("any text survives encoding and decoding", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", maxLength: 80 }), (text) => {
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    }),
  );
});

test("pieces cover the text in order, with nothing lost", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => {
      expect(pieces(text).join("")).toBe(text);
    }),
  );
});

test("every digit is its own token and has one form", () => {
  const ids = tokenizer.encode("takes 120 + 7 x12 (3)");
  const shown = ids.map((id) => tokenizer.decode([id]));
  expect(shown.filter((token) => /\d/.test(token))).toEqual(["1", "2", "0", "7", "1", "2", "3"]);
});

test("special tokens have the first ids and are found in text", () => {
  expect(SPECIAL_TOKENS.map((token) => tokenizer.id(token))).toEqual([0, 1, 2, 3, 4]);
  expect(tokenizer.encode("<|bos|><|model|>x<|end|>")).toEqual([1, 3, ...tokenizer.encode("x"), 4]);
});

test("a saved tokenizer loads and encodes alike", () => {
  tokenizer.save(folder);
  const loaded = Tokenizer.load(folder);
  for (const text of TEXTS) expect(loaded.encode(text)).toEqual(tokenizer.encode(text));
});

test("Hugging Face's own JavaScript tokenizer gives the same ids", () => {
  const files = tokenizer.files();
  const reference = new Reference(
    JSON.parse(files["tokenizer.json"] ?? ""),
    JSON.parse(files["tokenizer_config.json"] ?? ""),
  );
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: "grapheme", maxLength: 40 }), fc.constantFrom(...TEXTS)),
      (text) => {
        expect(tokenizer.encode(text)).toEqual(reference.encode(text).ids);
      },
    ),
  );
});

test("another kind of tokenizer is refused by name", () => {
  const other = mkdtempSync(join(folder, "other-"));
  writeFileSync(join(other, "tokenizer.json"), JSON.stringify({ model: { type: "Unigram" } }));
  expect(() => Tokenizer.load(other)).toThrow(/DATA_TOKENIZER/);
  writeFileSync(join(other, "tokenizer.json"), "{");
  expect(() => Tokenizer.load(other)).toThrow(/DATA_TOKENIZER/);
});

test("equal texts train equal vocabularies", () => {
  const again = trainVocabulary(TEXTS, { vocabularySize: 340, special: SPECIAL_TOKENS });
  expect(again).toEqual(tokenizer.vocabulary);
});
