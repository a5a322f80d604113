import { existsSync, readFileSync } from "node:fs";
import { isAbsolute, join, normalize } from "node:path";
import { readLines } from "../../data/index.ts";
import { sameObjective } from "./check.ts";
import { fail } from "./errors.ts";
import { SolverPool } from "./pool.ts";

/**
 * The published B4O-Feasible set: a folder with `test.jsonl` (one problem a line, with `id`, `optimal_value` and `reference_lp_path`) and the LP files it
 * names. `solveB4o` solves every published LP as it stands and compares the optimum with the one stated.
 */
export type B4oProblem = {
  readonly id: string;
  readonly problem: string;
  readonly optimum: number;
  /** LP file, relative to the folder. */
  readonly lp: string;
};
export type B4oOutcome = { readonly id: string; readonly lp: string; readonly stated: number } & (
  | { readonly outcome: "reproduced"; readonly objective: number }
  | { readonly outcome: "differs"; readonly objective: number; readonly reason: string }
  | { readonly outcome: "unsolved"; readonly reason: string }
);

type Line = {
  readonly id: string;
  readonly problem: string;
  readonly optimal_value: number;
  readonly reference_lp_path: string;
};

export function readB4o(folder: string): B4oProblem[] {
  const path = join(folder, "test.jsonl");
  if (!existsSync(path)) throw fail("OR_B4O_PATH", { path: folder, missing: "test.jsonl" });
  const rows = readLines<Line>(path, (row) => {
    if (typeof row["id"] !== "string") return "no id";
    if (typeof row["optimal_value"] !== "number") return "no optimal_value";
    const lp = row["reference_lp_path"];
    if (typeof lp !== "string") return "no reference_lp_path";
    // A path of the file must not lead out of the folder.
    if (isAbsolute(lp) || normalize(lp).startsWith(".."))
      return `reference_lp_path ${lp} leads out of the folder`;
    return undefined;
  });
  return rows.map((row) => ({
    id: row.id,
    problem: row.problem,
    optimum: row.optimal_value,
    lp: row.reference_lp_path,
  }));
}

/** Solves every LP of the set. Sizes are bounded, because the files are someone else's. */
export async function solveB4o(
  folder: string,
  options: { readonly threads?: number; readonly timeLimitSeconds?: number } = {},
  progress: (done: number, of: number) => void = () => {},
): Promise<B4oOutcome[]> {
  const problems = readB4o(folder);
  const pool = new SolverPool({
    threads: options.threads ?? 1,
    timeLimitSeconds: options.timeLimitSeconds ?? 120,
  });
  let done = 0;
  try {
    return await Promise.all(
      problems.map(async ({ id, lp, optimum }): Promise<B4oOutcome> => {
        const outcome = await solveOne(join(folder, lp), optimum, pool);
        progress(++done, problems.length);
        return { id, lp, stated: optimum, ...outcome };
      }),
    );
  } finally {
    await pool.close();
  }
}

type Outcome =
  | { readonly outcome: "reproduced"; readonly objective: number }
  | { readonly outcome: "differs"; readonly objective: number; readonly reason: string }
  | { readonly outcome: "unsolved"; readonly reason: string };

const MAX_BYTES = 4 << 20;

async function solveOne(path: string, optimum: number, pool: SolverPool): Promise<Outcome> {
  if (!existsSync(path)) return { outcome: "unsolved", reason: "the LP file is missing" };
  const text = readFileSync(path, "utf8");
  if (text.length > MAX_BYTES)
    return { outcome: "unsolved", reason: `the LP file has ${text.length} characters` };
  const { status, objective, detail } = await pool.solve(plainNames(text));
  if (status !== "optimal")
    return { outcome: "unsolved", reason: whyUnsolved(text, detail ? `${status}: ${detail}` : status) };
  if (sameObjective(objective, optimum)) return { outcome: "reproduced", objective };
  return { outcome: "differs", objective, reason: `solved to ${objective}, stated ${optimum}` };
}

/**
 * Gurobi writes indexed variables as `flow[0,3]`; HiGHS takes a bracket for the start of a quadratic part and aborts. Every such name (letters
 * right before the bracket, no space) gets a plain one that no other name of the text has; nothing else is touched.
 */
export function plainNames(text: string): string {
  const names = new Map<string, string>();
  let prefix = "v";
  while (new RegExp(`\\b${prefix}\\d`).test(text)) prefix += "v";
  return text.replace(/[A-Za-z_]\w*\[[^\]\n]*\]/g, (name) => {
    const known = names.get(name) ?? `${prefix}${names.size}`;
    names.set(name, known);
    return known;
  });
}

/** The two kinds of model in the set that are beyond HiGHS are told from their text; for others the solver's words stand. */
function whyUnsolved(text: string, words: string): string {
  const products = /(^|[\s:+-])\[\s/;
  const [objective = "", constraints = ""] = text.split(/^\s*subject to\s*$/im);
  if (products.test(constraints))
    return `products of variables in the constraints, which HiGHS does not take (${words})`;
  if (products.test(objective))
    return `a quadratic objective that is not convex, which HiGHS does not solve (${words})`;
  return words;
}
