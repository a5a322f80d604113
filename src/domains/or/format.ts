/**
 * What a model reads and writes:
 *
 *   <|bos|><|problem|>TEXT OF THE PROBLEM<|model|>LP TEXT<|end|>
 *
 * The loss covers the LP text and <|end|>; the prompt ends with <|model|>. Answers are in the grammar of `lp.ts`:
 * variables `x1 x2 ...` in the order in which the things are named, `x11 x12 ...` (row, column) where the decision is a pair,
 * `y1 ...` for yes/no decisions beside amounts; a coefficient is written exactly where the text gives a number for it.
 */
export const MARKS = {
  pad: "<|pad|>",
  bos: "<|bos|>",
  problem: "<|problem|>",
  model: "<|model|>",
  end: "<|end|>",
} as const;

/** Text of a user cannot close its own frame: the marks' opening is broken by a space. */
export const harmless = (text: string): string => text.replaceAll("<|", "< |");

export const promptOf = (problem: string): string =>
  `${MARKS.bos}${MARKS.problem}${harmless(problem)}${MARKS.model}`;
export const completionOf = (answer: string): string => `${answer}${MARKS.end}`;

/** The answer inside raw generated text: what stands before the first mark. */
export function answerOf(generated: string): string {
  const stop = generated.indexOf("<|");
  return stop < 0 ? generated : generated.slice(0, stop);
}
