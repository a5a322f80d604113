import type { Random } from "../../base/index.ts";
import { type Language, listText, SERIES_SHAPES, seriesText } from "../../data/index.ts";
import type { LpModel } from "./lp.ts";
import { numberWord } from "./numbers.ts";

/** What families share: the draft they return, and the tools that turn numbers into varied sentences. */
export type { Language };
export type Difficulty = 1 | 2 | 3;

/** A worded problem and its model, before any solver looked at it. */
type Draft = {
  readonly problem: string;
  readonly model: LpModel;
  /** The numbers and structure, without words: equal parameters are the same task in another dress. */
  readonly parameters: unknown;
  /** Which sentence frames were taken: equal wordings differ in names and numbers only. */
  readonly wording: string;
  /** Numbers of the text that label or count things and so do not stand in the model. */
  readonly labels: readonly number[];
};

export type Family = {
  readonly name: string;
  readonly title: { readonly en: string; readonly zh: string };
  generate(teller: Teller, difficulty: Difficulty): Draft;
};

/** Two texts, one a language. */
export type Pair = { readonly en: string; readonly zh: string };
export const pair = (en: string, zh: string): Pair => ({ en, zh });

/**
 * Picks frames and remembers which, so that a wording has a name. Numbers and names come from `random`, frames from a stream of their own:
 * the same task can be told again in other words.
 */
export class Teller {
  readonly random: Random;
  readonly language: Language;
  readonly #words: Random;
  readonly #picks: number[] = [];

  constructor(random: Random, language: Language, words: Random) {
    this.random = random;
    this.language = language;
    this.#words = words;
  }

  get wording(): string {
    return `${this.language}:${this.#picks.join(".")}`;
  }

  /** One of several ways to say a thing, remembered in the wording. */
  frame<T>(frames: readonly T[]): T {
    const index = this.#words.int(0, frames.length - 1);
    this.#picks.push(index);
    return frames[index] as T;
  }

  /** True with the probability given, remembered in the wording. */
  chance(probability: number): boolean {
    const yes = this.#words.next() < probability;
    this.#picks.push(yes ? 1 : 0);
    return yes;
  }

  /** One of the sentence frames of this language with its slots filled: `{name}`. */
  tell(
    frames: { readonly en: readonly string[]; readonly zh: readonly string[] },
    slots: Slots = {},
  ): string {
    return fill(this.frame(frames[this.language]), slots);
  }

  in(text: Pair): string {
    return text[this.language];
  }

  /** `count` different entries of a vocabulary, in random order (not part of the wording). */
  some<T>(items: readonly T[], count: number): T[] {
    return this.random.shuffle(items).slice(0, count);
  }

  numbers(count: number, low: number, high: number): number[] {
    return Array.from({ length: count }, () => this.random.int(low, high));
  }

  /** A count that the model does not need, in digits or as a word. */
  count(value: number): string {
    return this.frame(["digits", "word"]) === "word" ? numberWord(value, this.language) : String(value);
  }

  /** "a, b and c" or "a、b和c". */
  list(items: readonly string[]): string {
    return listText(this.language, items);
  }

  /** Values beside their names, in one of several shapes; with `bare` false the names are always said. */
  series(names: readonly string[], values: readonly (number | string)[], bare = true): string {
    const shape = this.frame(bare ? SERIES_SHAPES : SERIES_SHAPES.filter((each) => each !== "bare"));
    return seriesText(this.language, shape, names, values);
  }

  /** Sentences put together as this language does. */
  text(sentences: readonly string[]): string {
    return sentences.filter((sentence) => sentence !== "").join(this.language === "en" ? " " : "");
  }
}

export type Slots = Readonly<Record<string, string | number>>;

function fill(frame: string, slots: Slots): string {
  const text = frame.replace(/\{(\w+)\}/g, (_whole, name: string) => {
    const value = slots[name];
    if (value === undefined) throw new Error(`frame has no value for {${name}}: ${frame}`);
    return String(value);
  });
  return text.replace(/^[a-z]/, (letter) => letter.toUpperCase());
}

/** Sizes by difficulty: `[at 1, at 2, at 3]`, each a range. */
export function size(random: Random, difficulty: Difficulty, ranges: readonly [Range, Range, Range]): number {
  const [low, high] = ranges[difficulty - 1] as Range;
  return random.int(low, high);
}
export type Range = readonly [low: number, high: number];

export const names = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_unused, i) => `${prefix}${i + 1}`);
/** `x11 x12 ...` of row i and column j: at most nine of each. */
export const cell = (prefix: string, i: number, j: number): string => `${prefix}${i + 1}${j + 1}`;
