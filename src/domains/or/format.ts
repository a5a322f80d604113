/**
 * What a model reads and writes in this domain, in the frame of `data/format.ts`:
 *
 *   <|bos|><|problem|>TEXT OF THE PROBLEM<|model|>LP TEXT<|end|>
 *
 * The loss covers the LP text and <|end|>; a prompt for generation ends with <|model|>. Answers are in the grammar of `lp.ts`:
 * variables `x1 x2 ...` in the order in which the things are named, `x11 x12 ...` (row, column) where the decision is a pair,
 * `y1 ...` for yes/no decisions beside amounts; a coefficient is written exactly where the text gives a number for it.
 */
export { answerOf, completionOf, MARKS, promptOf } from "../../data/index.ts";
