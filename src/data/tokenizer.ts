import { readFileSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "../base/node.ts";
import { trainVocabulary, type TrainOptions, type Vocabulary } from "./bpe.ts";
import { fail } from "./errors.ts";
import { BYTE_CHARS, byteText, pieces, SPLIT_PATTERN } from "./pretokenize.ts";

/**
 * Text to token ids and back, the same ids as Hugging Face's loader of the same `tokenizer.json`. Fast because a piece that was seen
 * before costs one map lookup.
 */
export class Tokenizer {
  readonly vocabulary: Vocabulary;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #ranks = new Map<string, number>();
  readonly #cache = new Map<string, readonly number[]>();
  readonly #special: RegExp;

  constructor(vocabulary: Vocabulary) {
    this.vocabulary = vocabulary;
    this.#ids = new Map(vocabulary.tokens.map((token, id) => [token, id]));
    vocabulary.merges.forEach(([left, right], rank) => this.#ranks.set(`${left} ${right}`, rank));
    this.#special = new RegExp(`(${vocabulary.special.map(escape).join("|")})`);
  }

  get size(): number {
    return this.vocabulary.tokens.length;
  }

  /** Id of a special token. */
  id(token: string): number {
    const id = this.#ids.get(token);
    if (id === undefined) throw new RangeError(`no token ${token}`);
    return id;
  }

  /** Ids of a text; special tokens in it become their single ids. */
  encode(text: string): number[] {
    const out: number[] = [];
    for (const part of text.split(this.#special)) {
      if (part === "") continue;
      const id = this.vocabulary.special.includes(part) ? this.#ids.get(part) : undefined;
      if (id !== undefined) out.push(id);
      else for (const piece of pieces(part)) out.push(...this.#piece(piece));
    }
    return out;
  }

  /** Text of ids; special tokens are shown as they are written. */
  decode(ids: Iterable<number>): string {
    const bytes: number[] = [];
    let out = "";
    const flush = () => {
      out += new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));
      bytes.length = 0;
    };
    for (const id of ids) {
      const token = this.vocabulary.tokens[id];
      if (token === undefined) throw new RangeError(`no token ${id}`);
      if (id < this.vocabulary.special.length) {
        flush();
        out += token;
      } else {
        for (const char of token) bytes.push(BYTE_OF.get(char) as number);
      }
    }
    flush();
    return out;
  }

  #piece(piece: string): readonly number[] {
    const known = this.#cache.get(piece);
    if (known) return known;
    let symbols = [...byteText(piece)];
    for (;;) {
      let best = Number.POSITIVE_INFINITY;
      let at = -1;
      for (let i = 0; i + 1 < symbols.length; i++) {
        const rank = this.#ranks.get(`${symbols[i]} ${symbols[i + 1]}`);
        if (rank !== undefined && rank < best) {
          best = rank;
          at = i;
        }
      }
      if (at < 0) break;
      symbols = [...symbols.slice(0, at), `${symbols[at]}${symbols[at + 1]}`, ...symbols.slice(at + 2)];
    }
    const ids = symbols.map((symbol) => this.#ids.get(symbol) as number);
    // Bounded, so that a stream of ever new pieces cannot eat the memory.
    if (this.#cache.size < 100_000) this.#cache.set(piece, ids);
    return ids;
  }

  save(folder: string): void {
    for (const [name, content] of Object.entries(this.files())) writeFileAtomic(join(folder, name), content);
  }

  /** `tokenizer.json` and `tokenizer_config.json` as Hugging Face's PreTrainedTokenizerFast reads them. */
  files(): Record<string, string> {
    const { tokens, merges, special } = this.vocabulary;
    const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
    const json = {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: special.map((content, id) => ({
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      })),
      normalizer: null,
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [
          { type: "Split", pattern: { Regex: SPLIT_PATTERN }, behavior: "Isolated", invert: false },
          byteLevel,
        ],
      },
      post_processor: null,
      decoder: byteLevel,
      model: {
        type: "BPE",
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges,
      },
    };
    const named = (name: string) => special.find((token) => token === `<|${name}|>`);
    const config = {
      tokenizer_class: "PreTrainedTokenizerFast",
      bos_token: named("bos"),
      eos_token: named("end"),
      pad_token: named("pad"),
      additional_special_tokens: special.filter(
        (token) => !["<|bos|>", "<|end|>", "<|pad|>"].includes(token),
      ),
      clean_up_tokenization_spaces: false,
      model_max_length: 1_000_000,
    };
    return {
      "tokenizer.json": `${JSON.stringify(json, null, 1)}\n`,
      "tokenizer_config.json": `${JSON.stringify(config, null, 1)}\n`,
    };
  }

  /** Reads a `tokenizer.json` that `save` wrote; another kind of tokenizer is refused by name, never half understood. */
  static load(folder: string): Tokenizer {
    const path = join(folder, "tokenizer.json");
    const wrong = (detail: string, cause?: unknown) =>
      fail("DATA_TOKENIZER", { detail }, { file: path }, cause);
    let json: Stored;
    try {
      json = JSON.parse(readFileSync(path, "utf8")) as Stored;
    } catch (cause) {
      throw wrong(cause instanceof Error ? cause.message : String(cause), cause);
    }
    if (
      json.model?.type !== "BPE" ||
      json.pre_tokenizer?.pretokenizers?.[0]?.pattern?.Regex !== SPLIT_PATTERN
    ) {
      throw wrong("not a tokenizer of this program");
    }
    const tokens: string[] = [];
    for (const [token, id] of Object.entries(json.model.vocab)) tokens[id] = token;
    const merges = json.model.merges.map(
      (each) => (typeof each === "string" ? each.split(" ") : each) as [string, string],
    );
    return new Tokenizer({ tokens, merges, special: json.added_tokens.map((each) => each.content) });
  }
}

type Stored = {
  readonly added_tokens: readonly { readonly content: string }[];
  readonly pre_tokenizer?: {
    readonly pretokenizers?: readonly { readonly pattern?: { readonly Regex?: string } }[];
  };
  readonly model?: {
    readonly type: string;
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly (string | readonly string[])[];
  };
};

export function trainTokenizer(texts: Iterable<string>, options: TrainOptions): Tokenizer {
  return new Tokenizer(trainVocabulary(texts, options));
}

const BYTE_OF = new Map(BYTE_CHARS.map((char, byte) => [char, byte]));
const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
