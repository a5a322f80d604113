/** Numbers in text, as a reader finds them: digits (with thousands separators and decimals) and small number words. */
const ENGLISH = [
  "zero",
  "one",
  "two",
  "three",
  "four",
  "five",
  "six",
  "seven",
  "eight",
  "nine",
  "ten",
  "eleven",
  "twelve",
];
const CHINESE = ["零", "一", "二", "三", "四", "五", "六", "七", "八", "九", "十", "十一", "十二"];

const DIGITS = /\d{1,3}(?:,\d{3})+(?!\d)|\d+(?:\.\d+)?/g;
const WORDS = new RegExp(`\\b(?:${ENGLISH.join("|")})\\b`, "gi");

/** Every number of a text in its order; words up to twelve count in English. */
export function numbersIn(text: string): number[] {
  const found: { at: number; value: number }[] = [];
  for (const match of text.matchAll(DIGITS))
    found.push({ at: match.index, value: Number(match[0].replaceAll(",", "")) });
  for (const match of text.matchAll(WORDS))
    found.push({ at: match.index, value: ENGLISH.indexOf(match[0].toLowerCase()) });
  for (const match of text.matchAll(/「([零一二三四五六七八九十]{1,2})」/g)) {
    found.push({ at: match.index, value: CHINESE.indexOf(match[1] as string) });
  }
  return found.sort((a, b) => a.at - b.at).map(({ value }) => value);
}

/** A small number as a word: English plain, Chinese in corner brackets so that it cannot be mistaken for part of a name. */
export function numberWord(value: number, language: "en" | "zh"): string | undefined {
  const word = (language === "en" ? ENGLISH : CHINESE)[value];
  return word === undefined ? undefined : language === "en" ? word : `「${word}」`;
}
