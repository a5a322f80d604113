import { answerOf } from "./format.ts";
import { parseLp, writeLp } from "./lp.ts";
import { type PoolOptions, SolverPool } from "./pool.ts";
import type { SolveStatus } from "./solver.ts";

/**
 * Marks a model's answer. The answer is untrusted text: our strict parser reads it under size limits, and the solver gets only
 * what our writer makes of the parse, in a thread with a time limit. It is correct iff status and optimum are the expected ones;
 * how the model is written down does not matter.
 */
export type AnswerVerdict =
  | { readonly verdict: "correct"; readonly objective: number }
  | { readonly verdict: "wrong"; readonly objective: number; readonly reason: string }
  | { readonly verdict: "unparsable"; readonly reason: string }
  | {
      readonly verdict: "unsolved";
      readonly status: Exclude<SolveStatus, "optimal">;
      readonly reason: string;
    };

export type Expected = { readonly objective: number; readonly status: string };

/** Relative to the expected optimum, absolute near zero. */
export const OBJECTIVE_TOLERANCE = 1e-6;

export const sameObjective = (a: number, b: number, tolerance: number = OBJECTIVE_TOLERANCE): boolean =>
  Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b));

export class AnswerChecker {
  readonly #pool: SolverPool;

  constructor(options: PoolOptions = {}) {
    this.#pool = new SolverPool(options);
  }

  /** `generated` is raw text of a model, with or without the end mark. */
  async check(generated: string, expected: Expected): Promise<AnswerVerdict> {
    const parsed = parseLp(answerOf(generated));
    if (!parsed.ok) {
      const { line, column } = parsed.error.place;
      const at = line === undefined ? "" : ` (line ${line}, column ${column})`;
      return { verdict: "unparsable", reason: `${parsed.error.message}${at}` };
    }
    const solution = await this.#pool.solve(writeLp(parsed.value));
    const { status, objective } = solution;
    if (status !== "optimal") {
      // An expected status other than optimal is met by reporting just that.
      if (status === expected.status) return { verdict: "correct", objective };
      return {
        verdict: "unsolved",
        status,
        reason: solution.detail ?? `${status}, expected ${expected.status}`,
      };
    }
    if (expected.status !== "optimal")
      return { verdict: "wrong", objective, reason: `optimal, expected ${expected.status}` };
    if (sameObjective(objective, expected.objective)) return { verdict: "correct", objective };
    return { verdict: "wrong", objective, reason: `optimum ${objective}, expected ${expected.objective}` };
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}
