/** What a second of a pass was spent on. `Terms` is one number per entry, in this order. */
export const TERMS = ["matrix", "grouped", "attention", "vector", "tensor", "context", "expert"] as const;
export const MATRIX = 0;
export const GROUPED = 1;
export const ATTENTION = 2;
export const VECTOR = 3;
export const TENSOR = 4;
export const CONTEXT = 5;
export const EXPERT = 6;
/** Terms from this one on are communication. */
export const FIRST_COMM: number = TERMS.indexOf("tensor");

export type Terms = Float64Array;
export const noTerms = (): Terms => new Float64Array(TERMS.length);
export function addTerms(to: Terms, from: Terms, times = 1): Terms {
  for (let i = 0; i < to.length; i++) to[i] = (to[i] as number) + times * (from[i] as number);
  return to;
}
export function total(terms: Terms, end: number = terms.length): number {
  let sum = 0;
  for (let i = 0; i < end; i++) sum += terms[i] as number;
  return sum;
}
