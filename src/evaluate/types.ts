/** One held-out problem with its proven answer. `prompt` is what the model reads, `problem` what a person reads. */
export type Item = {
  readonly id: string;
  readonly prompt: string;
  readonly problem: string;
  /** The reference answer text, for a person to compare with. */
  readonly reference: string;
  readonly family: string;
  readonly language: string;
  readonly difficulty: string;
  /** What the solver proved: "optimal", "infeasible", ... */
  readonly status: string;
  /** Proven optimum; null where there is none. */
  readonly objective: number | null;
};

/** What a model wrote. `finished`: it ended by itself, not by the limit of tokens. */
export type Answer = {
  readonly id: string;
  readonly text: string;
  readonly tokens: number;
  readonly finished: boolean;
};

/** correct: status and objective match; wrong: it solves to something else; unparsable: not a model; unsolved: no verdict from the solver. */
export const VERDICTS = ["correct", "wrong", "unparsable", "unsolved"] as const;
export type Verdict = (typeof VERDICTS)[number];
export type VerdictCounts = { readonly [V in Verdict]: number };

export type Checked = {
  readonly verdict: Verdict;
  readonly reason: string;
  readonly objective: number | null;
};

/** Judges one answer by executing it; never throws for a bad answer, only for a bug. */
export type Checker = (item: Item, text: string) => Checked | Promise<Checked>;

export type Outcome = Answer & Checked;
