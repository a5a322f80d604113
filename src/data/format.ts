/**
 * The frame of every training text:
 *
 *   <|bos|><|problem|>what is asked<|model|>what is answered<|end|>      a task
 *   <|bos|>text<|end|>                                                     plain text
 */
export const MARKS = {
  pad: "<|pad|>",
  bos: "<|bos|>",
  problem: "<|problem|>",
  model: "<|model|>",
  end: "<|end|>",
} as const;
/** In the order of their ids, 0 to 4. */
export const SPECIAL_TOKENS: readonly string[] = Object.values(MARKS);

/** Text of a user cannot close its own frame: the opening of a mark is broken by a space. */
export const harmless = (text: string): string => text.replaceAll("<|", "< |");

export const promptOf = (problem: string): string =>
  `${MARKS.bos}${MARKS.problem}${harmless(problem)}${MARKS.model}`;
export const completionOf = (answer: string): string => `${harmless(answer)}${MARKS.end}`;
export const plainOf = (text: string): string => `${MARKS.bos}${harmless(text)}${MARKS.end}`;

/** The answer inside raw generated text: what stands before the first mark. */
export function answerOf(generated: string): string {
  const stop = generated.indexOf("<|");
  return stop < 0 ? generated : generated.slice(0, stop);
}
