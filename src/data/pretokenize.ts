/**
 * How text is cut before byte-pair merging. Every digit stands alone, so a number is copied digit by digit; a word or an operator
 * takes the space before it and, when a digit follows, the space after it too (" + ", " needs "), so a digit has one form only.
 * Blank characters are named one by one because the engines behind `\s` differ (U+FEFF, U+0085); this pattern cuts alike
 * in JavaScript and in Oniguruma, which Hugging Face tokenizers use.
 */
export const SPLIT_PATTERN =
  "\\p{Nd}| ?\\p{L}+(?: (?=\\p{Nd}))?| ?[^ \\t\\r\\n\\p{L}\\p{Nd}]+(?: (?=\\p{Nd}))?|[ \\t\\r\\n]+";
const SPLIT = new RegExp(SPLIT_PATTERN, "gu");

export const pieces = (text: string): string[] => text.match(SPLIT) ?? [];

/** GPT-2's map of the 256 bytes to visible characters: those that print stand for themselves, the rest follow from U+0100. */
export const BYTE_CHARS: readonly string[] = (() => {
  const prints = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_unused, byte) => String.fromCharCode(prints(byte) ? byte : next++));
})();

const encoder = new TextEncoder();

/** Text as the characters that stand for its UTF-8 bytes. */
export function byteText(text: string): string {
  let out = "";
  for (const byte of encoder.encode(text)) out += BYTE_CHARS[byte];
  return out;
}
