import highsModule from "highs";
import { fail } from "./errors.ts";

// The package's one declaration file is read as CommonJS, where a default export hangs below the module; what runs is the ES module.
const loadHighs = highsModule as unknown as typeof highsModule.default;

/**
 * One HiGHS module in this thread. WebAssembly may abort (and then every later call fails), so after an exception the
 * module is thrown away and made anew. A module solves one problem at a time and cannot be interrupted from outside:
 * text that is not ours is solved in a worker (`pool.ts`), which can be killed.
 */
export type SolveStatus = "optimal" | "infeasible" | "unbounded" | "limit" | "error";
export type Solution = {
  readonly status: SolveStatus;
  /** The optimum, or NaN where none was proven. */
  readonly objective: number;
  readonly values: Readonly<Record<string, number>>;
  readonly detail?: string;
};
export type SolveOptions = { readonly timeLimitSeconds?: number };

type Highs = Awaited<ReturnType<typeof loadHighs>>;

const SETTINGS = {
  output_flag: false,
  // The gap below which HiGHS calls a mixed-integer optimum proven; its default, 1e-4, is wider than the check's 1e-6.
  mip_rel_gap: 1e-9,
  // This heuristic only seeks first solutions, and setting it up took four fifths of the time of a small problem (4.5 ms -> 1.0 ms).
  // The package's types do not list it; HiGHS does.
  mip_heuristic_run_feasibility_jump: false,
};

const STATUS: Readonly<Record<string, SolveStatus>> = {
  Optimal: "optimal",
  Infeasible: "infeasible",
  Unbounded: "unbounded",
  "Primal infeasible or unbounded": "unbounded",
  "Time limit reached": "limit",
  "Iteration limit reached": "limit",
};

export class Solver {
  #highs: Highs;
  /** How often the module had to be made anew after an abort. */
  restarts = 0;

  private constructor(highs: Highs) {
    this.#highs = highs;
  }

  static async open(): Promise<Solver> {
    return new Solver(await load());
  }

  /** Solves LP text as it stands. Never throws for what the text does; `error` then carries the solver's words. */
  async solve(text: string, options: SolveOptions = {}): Promise<Solution> {
    try {
      const result = this.#highs.solve(text, {
        ...SETTINGS,
        ...(options.timeLimitSeconds === undefined ? {} : { time_limit: options.timeLimitSeconds }),
      });
      const values: Record<string, number> = {};
      for (const [name, column] of Object.entries(result.Columns)) {
        values[name] = "Primal" in column && typeof column.Primal === "number" ? column.Primal : Number.NaN;
      }
      const status = STATUS[result.Status] ?? "error";
      return {
        status,
        objective: status === "optimal" ? result.ObjectiveValue : Number.NaN,
        values,
        ...(status === "error" ? { detail: result.Status } : {}),
      };
    } catch (cause) {
      this.#highs = await load();
      this.restarts++;
      const detail = cause instanceof Error ? cause.message : String(cause);
      return { status: "error", objective: Number.NaN, values: {}, detail: detail.slice(0, 200) };
    }
  }
}

async function load(): Promise<Highs> {
  try {
    return await loadHighs();
  } catch (cause) {
    throw fail("OR_SOLVER", { detail: cause instanceof Error ? cause.message : String(cause) }, {}, cause);
  }
}
