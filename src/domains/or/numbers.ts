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
const CHINESE = ["零", "一", "兩", "三", "四", "五", "六", "七", "八", "九", "十", "十一", "十二"];

const DIGITS = /\d{1,3}(?:,\d{3})+(?!\d)|\d+(?:\.\d+)?/g;
const WORDS = new RegExp(`\\b(?:${ENGLISH.join("|")})\\b`, "gi");

/** Every number of a text in its order; English words up to twelve count, Chinese ones are part of too many names. */
export function numbersIn(text: string): number[] {
  const found: { at: number; value: number }[] = [];
  for (const match of text.matchAll(DIGITS))
    found.push({ at: match.index, value: Number(match[0].replaceAll(",", "")) });
  for (const match of text.matchAll(WORDS))
    found.push({ at: match.index, value: ENGLISH.indexOf(match[0].toLowerCase()) });
  return found.sort((a, b) => a.at - b.at).map(({ value }) => value);
}

/** A count as a word, where there is one; words stand only for counts that the model does not need. */
export function numberWord(value: number, language: "en" | "zh"): string {
  return (language === "en" ? ENGLISH : CHINESE)[value] ?? String(value);
}
