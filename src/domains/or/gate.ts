import { parseLp, type Row, valueOf, variablesOf, writeLp, type LpModel } from "./lp.ts";
import { numbersIn } from "./numbers.ts";
import type { Solution, Solver } from "./solver.ts";

/**
 * The door between generators and data. It trusts nothing but the text that becomes the training target: that text is parsed,
 * solved by HiGHS as it stands, and the solution is put back into the parsed model and recomputed. A draft passes iff
 *  - the text parses, and writing the parse gives the same text (it is canonical),
 *  - HiGHS proves an optimum; objective, rows, signs and integrality recomputed from our parse agree with it,
 *  - it is no degenerate task: optimum not zero, not every variable zero, and at least one row binds (its slack is zero, or, when every
 *    variable of the row is whole, smaller than the least step that any of them could still take),
 *  - every number of the model stands in the words (0 and 1 may be implied), and every number of the words is in the model or is a label.
 */
export type Rejection =
  | "unparsable"
  | "not-canonical"
  | "too-large"
  | "infeasible"
  | "unbounded"
  | "limit"
  | "solver-error"
  | "solution-disagrees"
  | "zero-objective"
  | "all-zero"
  | "nothing-binds"
  | "number-missing"
  | "number-unused";

export type Verdict =
  | { readonly ok: true; readonly objective: number }
  | { readonly ok: false; readonly reason: Rejection; readonly detail: string };

const TOLERANCE = 1e-6;

/** What a generator hands to the gate: the words, the text of the model, and the numbers of the words that only label or count. */
export type Candidate = {
  readonly problem: string;
  readonly answer: string;
  readonly labels: readonly number[];
};

export async function judge(candidate: Candidate, solver: Solver): Promise<Verdict> {
  const { answer } = candidate;
  const parsed = parseLp(answer);
  if (!parsed.ok) {
    return no(parsed.error.code === "OR_LP_SIZE" ? "too-large" : "unparsable", parsed.error.message);
  }
  if (writeLp(parsed.value) !== answer) return no("not-canonical", answer);
  const unrecoverable = checkNumbers(candidate, parsed.value);
  if (unrecoverable) return unrecoverable;
  const solution = await solver.solve(answer, { timeLimitSeconds: 2 });
  return judgeSolution(parsed.value, solution);
}

/** The part of the verdict that looks at the solved model. */
export function judgeSolution(model: LpModel, solution: Solution): Verdict {
  switch (solution.status) {
    case "optimal":
      break;
    case "error":
      return no("solver-error", solution.detail ?? "");
    default:
      return no(solution.status, "");
  }
  const wrong = disagreement(model, solution);
  if (wrong) return no("solution-disagrees", wrong);
  if (Math.abs(solution.objective) < TOLERANCE) return no("zero-objective", "");
  if (variablesOf(model).every((name) => Math.abs(solution.values[name] ?? 0) < TOLERANCE))
    return no("all-zero", "");
  if (!model.rows.some((row) => binds(row, model, solution.values))) return no("nothing-binds", "");
  return { ok: true, objective: solution.objective };
}

const no = (reason: Rejection, detail: string): Verdict => ({ ok: false, reason, detail });

function checkNumbers(candidate: Candidate, model: LpModel): Verdict | undefined {
  const inModel = new Set<number>();
  for (const { coefficient } of model.objective) if (coefficient !== null) inModel.add(coefficient);
  for (const row of model.rows) {
    inModel.add(Math.abs(row.bound));
    for (const { coefficient } of row.terms) if (coefficient !== null) inModel.add(coefficient);
  }
  const inText = new Set(numbersIn(candidate.problem));
  for (const value of inModel) {
    if (value !== 0 && value !== 1 && !inText.has(value))
      return no("number-missing", `${value} is not in the text`);
  }
  for (const value of inText) {
    // "one unit", "each one": the two smallest numbers are also just words.
    if (value > 1 && !inModel.has(value) && !candidate.labels.includes(value))
      return no("number-unused", `${value} is not in the model`);
  }
  return undefined;
}

const activity = (row: Row, values: Solution["values"]): number =>
  row.terms.reduce((sum, each) => sum + valueOf(each) * (values[each.variable] ?? Number.NaN), 0);

const slackOf = (row: Row): number => TOLERANCE * Math.max(1, Math.abs(row.bound));

function binds(row: Row, model: LpModel, values: Solution["values"]): boolean {
  const slack = Math.abs(activity(row, values) - row.bound);
  if (slack <= slackOf(row)) return true;
  const up = row.relation === "<=";
  const steps = row.terms.map((each) => {
    const { variable } = each;
    const binary = model.binaries.includes(variable);
    if (!binary && !model.integers.includes(variable)) return 0;
    const value = values[variable] ?? 0;
    // The step towards the bound: up for positive terms of a <= row, down for those of a >= row.
    const rises = up === each.sign > 0;
    const stuck = rises ? binary && value > 0.5 : value < 0.5;
    return stuck ? Number.POSITIVE_INFINITY : Math.abs(valueOf(each));
  });
  const least = Math.min(...steps);
  return Number.isFinite(least) && slack < least - slackOf(row);
}

/** What in the solver's answer contradicts our own reading of the text, or undefined. */
function disagreement(model: LpModel, { objective, values }: Solution): string | undefined {
  const own = model.objective.reduce(
    (sum, each) => sum + valueOf(each) * (values[each.variable] ?? Number.NaN),
    0,
  );
  if (!(Math.abs(own - objective) <= TOLERANCE * Math.max(1, Math.abs(objective))))
    return `objective ${own}, solver ${objective}`;
  for (const [i, row] of model.rows.entries()) {
    const left = activity(row, values);
    const off =
      row.relation === "="
        ? Math.abs(left - row.bound)
        : row.relation === "<="
          ? left - row.bound
          : row.bound - left;
    if (!(off <= slackOf(row))) return `row ${i + 1} is off by ${off}`;
  }
  for (const name of variablesOf(model)) {
    const value = values[name] ?? Number.NaN;
    if (!(value >= -TOLERANCE)) return `${name} = ${value}`;
    const whole = Math.abs(value - Math.round(value)) <= TOLERANCE;
    if (model.integers.includes(name) && !whole) return `${name} = ${value} is not whole`;
    if (model.binaries.includes(name) && !(whole && value <= 1 + TOLERANCE))
      return `${name} = ${value} is neither 0 nor 1`;
  }
  return undefined;
}
