import { sha256 } from "../base/node.ts";

/** The canonical sample: one task with its verified answer. Its id is its content, so equal samples have equal ids everywhere. */
export type Sample = {
  readonly id: string;
  readonly problem: string;
  readonly answer: string;
  readonly family: string;
  readonly difficulty: number;
  readonly language: string;
  /** The verified optimum, and the solver's status. */
  readonly objective: number;
  readonly status: string;
  /** Hash of family and numbers without the words: what a held-out split must keep apart. */
  readonly parametersHash: string;
  /** Name of the sentence frames; equal wordings differ in names and numbers only. */
  readonly wording: string;
  /** Where it came from: `seed/index` of a generator, or `file:line`. */
  readonly origin: string;
};

/** Gives a sample the id that its content has. */
export function identify(sample: Omit<Sample, "id">): Sample {
  return { id: sha256(`${sample.problem}\u0000${sample.answer}`).slice(0, 16), ...sample };
}
