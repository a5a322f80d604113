import { err, ok, type Result, type TesseraError } from "../../base/index.ts";
import { fail } from "./errors.ts";

/**
 * A linear model and its text, in the part of the CPLEX LP format that HiGHS reads and that every target answer uses:
 *
 *   max 5 x1 + 7 x2
 *   st
 *   2 x1 + 3 x2 <= 20
 *   x1 >= 2
 *   gen x1 x2
 *   end
 *
 * `parseLp` is also the door for text written by a model, so it refuses everything that is not in the grammar and bounds
 * every size; a solver only ever sees text that `writeLp` made from what passed. It reads more than `writeLp` writes
 * (long keywords, names of rows, comments, a bounds section), because other models answer in the wider format.
 */

/** `coefficient` null means that none is written (it counts 1); it is never negative, `sign` carries that. */
export type Term = { readonly sign: 1 | -1; readonly coefficient: number | null; readonly variable: string };
type Relation = "<=" | ">=" | "=";
export type Row = { readonly terms: readonly Term[]; readonly relation: Relation; readonly bound: number };

export type LpModel = {
  readonly sense: "max" | "min";
  readonly objective: readonly Term[];
  readonly rows: readonly Row[];
  /** Variables that are not continuous; the others are continuous and at least zero. */
  readonly integers: readonly string[];
  readonly binaries: readonly string[];
};

/** Sizes above which text is refused before any solver sees it. */
export const LP_LIMITS = { characters: 20_000, variables: 400, rows: 400, terms: 8_000, digits: 12 } as const;

export const valueOf = (term: Term): number => term.sign * (term.coefficient ?? 1);

/** `+ c v`: a term as generators state it. A negative number becomes a sign; leave the number out to write none. */
export function term(variable: string, coefficient?: number): Term {
  if (coefficient === undefined) return { sign: 1, coefficient: null, variable };
  return { sign: coefficient < 0 ? -1 : 1, coefficient: Math.abs(coefficient), variable };
}

/** `- v`, with no number. */
export const minus = (variable: string, coefficient?: number): Term => ({
  sign: -1,
  coefficient: coefficient ?? null,
  variable,
});

/** Every variable in the order of first appearance. */
export function variablesOf(model: LpModel): string[] {
  const seen = new Set<string>();
  for (const { variable } of model.objective) seen.add(variable);
  for (const row of model.rows) for (const { variable } of row.terms) seen.add(variable);
  for (const variable of [...model.integers, ...model.binaries]) seen.add(variable);
  return [...seen];
}

/** The canonical text; `parseLp(writeLp(model))` gives the same model. */
export function writeLp(model: LpModel): string {
  const lines = [`${model.sense} ${writeTerms(model.objective)}`, "st"];
  for (const row of model.rows)
    lines.push(`${writeTerms(row.terms)} ${row.relation} ${writeNumber(row.bound)}`);
  if (model.integers.length > 0) lines.push(`gen ${model.integers.join(" ")}`);
  if (model.binaries.length > 0) lines.push(`bin ${model.binaries.join(" ")}`);
  lines.push("end");
  return `${lines.join("\n")}\n`;
}

function writeTerms(terms: readonly Term[]): string {
  return terms
    .map(({ sign, coefficient, variable }, i) => {
      const lead = i === 0 ? (sign < 0 ? "- " : "") : sign < 0 ? " - " : " + ";
      return `${lead}${coefficient === null ? "" : `${writeNumber(coefficient)} `}${variable}`;
    })
    .join("");
}

/** Plain decimals, never an exponent: at most 9 places, no trailing zeros. */
function writeNumber(value: number): string {
  if (Number.isInteger(value)) return String(value);
  return value.toFixed(9).replace(/\.?0+$/, "");
}

type Token = { readonly text: string; readonly line: number; readonly column: number };

/** Reads a model strictly; the error says line and column (from 1) and what stood there. */
export function parseLp(text: string): Result<LpModel> {
  if (text.length > LP_LIMITS.characters) {
    return err(fail("OR_LP_SIZE", { what: "characters", count: text.length, limit: LP_LIMITS.characters }));
  }
  try {
    return ok(new Parser(scan(text)).model());
  } catch (cause) {
    if (cause instanceof Refusal) return err(cause.error);
    throw cause;
  }
}

class Refusal extends Error {
  readonly error: TesseraError;
  constructor(error: TesseraError) {
    super(error.message);
    this.error = error;
  }
}

const refuse = (token: Token | undefined, expected: string): never => {
  const place = token ? { line: token.line, column: token.column } : {};
  throw new Refusal(
    fail("OR_LP_SYNTAX", { found: token?.text.slice(0, 20) ?? "end of text", expected }, place),
  );
};

const TOKEN = /\s+|\\[^\n]*|[A-Za-z][A-Za-z0-9_.]*|\d+(?:\.\d+)?(?![\w.])|<=|>=|=<|=>|[<>=+\-:]|./gsu;
const NUMBER = /^\d/;
const NAME = /^[A-Za-z][A-Za-z0-9_.]{0,15}$/;

function scan(text: string): Token[] {
  const tokens: Token[] = [];
  let line = 1;
  let lineStart = 0;
  for (const match of text.matchAll(TOKEN)) {
    const piece = match[0];
    if (!/^\s/.test(piece) && !piece.startsWith("\\")) {
      tokens.push({ text: piece, line, column: match.index - lineStart + 1 });
      continue;
    }
    for (let i = 0; i < piece.length; i++) {
      if (piece[i] === "\n") {
        line++;
        lineStart = match.index + i + 1;
      }
    }
  }
  return tokens;
}

const SENSE: Readonly<Record<string, "max" | "min">> = {
  max: "max",
  maximize: "max",
  maximise: "max",
  maximum: "max",
  min: "min",
  minimize: "min",
  minimise: "min",
  minimum: "min",
};
type Section = "st" | "bounds" | "gen" | "bin" | "end";
const SECTION: Readonly<Record<string, Section>> = {
  st: "st",
  "s.t.": "st",
  bound: "bounds",
  bounds: "bounds",
  gen: "gen",
  general: "gen",
  generals: "gen",
  bin: "bin",
  binary: "bin",
  binaries: "bin",
  end: "end",
};
const RELATION: Readonly<Record<string, Relation>> = {
  "<=": "<=",
  "=<": "<=",
  "<": "<=",
  ">=": ">=",
  "=>": ">=",
  ">": ">=",
  "=": "=",
};
const RESERVED = new Set([
  ...Object.keys(SENSE),
  ...Object.keys(SECTION),
  "subject",
  "such",
  "free",
  "inf",
  "infinity",
]);

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #terms = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  model(): LpModel {
    const first = this.#next("max or min");
    const sense = SENSE[first.text.toLowerCase()] ?? refuse(first, "max or min");
    this.#name();
    const objective = this.#expression();
    const header = this.#next("st");
    if (/^(subject|such)$/i.test(header.text)) this.#next("to or that");
    else if (sectionOf(header) !== "st") refuse(header, "st");
    const rows: Row[] = [];
    const integers: string[] = [];
    const binaries: string[] = [];
    while (!this.#section()) {
      this.#name();
      const terms = this.#expression();
      rows.push({ terms, relation: this.#relation(), bound: this.#signed() });
      this.#lineEnd();
      if (rows.length > LP_LIMITS.rows) tooBig("rows", rows.length, LP_LIMITS.rows);
    }
    for (;;) {
      const token = this.#next("end");
      const section = sectionOf(token);
      if (section === "end") break;
      if (section === "bounds") {
        while (!this.#section()) {
          rows.push(...this.#boundRows());
          this.#lineEnd();
        }
      } else if (section === "gen") while (!this.#section()) integers.push(this.#variable());
      else if (section === "bin") while (!this.#section()) binaries.push(this.#variable());
      else refuse(token, "gen, bin, bounds or end");
    }
    if (this.#at < this.#tokens.length) refuse(this.#tokens[this.#at], "nothing after end");
    if (rows.length === 0) refuse(undefined, "at least one constraint");
    const model = {
      sense,
      objective,
      rows,
      integers: [...new Set(integers)],
      binaries: [...new Set(binaries)],
    };
    const variables = variablesOf(model).length;
    if (variables > LP_LIMITS.variables) tooBig("variables", variables, LP_LIMITS.variables);
    return model;
  }

  #peek(ahead = 0): Token | undefined {
    return this.#tokens[this.#at + ahead];
  }

  #next(expected: string): Token {
    const token = this.#tokens[this.#at++];
    return token ?? refuse(undefined, expected);
  }

  /** Looks whether a section starts here (or the text stops, which `#next` then reports). */
  #section(): boolean {
    const token = this.#peek();
    return token === undefined || (sectionOf(token) !== undefined && this.#peek(1)?.text !== ":");
  }

  /** An optional `name :`. */
  #name(): void {
    const token = this.#peek();
    if (token && this.#peek(1)?.text === ":") {
      if (!NAME.test(token.text)) refuse(token, "a name");
      this.#at += 2;
    }
  }

  #expression(): Term[] {
    const terms: Term[] = [];
    for (;;) {
      const token = this.#peek();
      let sign: 1 | -1 = 1;
      if (token?.text === "+" || token?.text === "-") {
        sign = token.text === "-" ? -1 : 1;
        this.#at++;
      } else if (terms.length > 0) {
        return terms;
      }
      const number = this.#peek();
      const coefficient = number && NUMBER.test(number.text) ? this.#number() : null;
      terms.push({ sign, coefficient, variable: this.#variable() });
      if (++this.#terms > LP_LIMITS.terms) tooBig("terms", this.#terms, LP_LIMITS.terms);
    }
  }

  /** A row ends its line, so that "x1 <= 3 x2" is no two rows. */
  #lineEnd(): void {
    const token = this.#peek();
    if (token && token.line === this.#tokens[this.#at - 1]?.line) refuse(token, "a new line");
  }

  #relation(): Relation {
    const token = this.#next("<=, >= or =");
    return RELATION[token.text] ?? refuse(token, "<=, >= or =");
  }

  #number(): number {
    const token = this.#next("a number");
    if (!NUMBER.test(token.text)) refuse(token, "a number");
    if (token.text.length > LP_LIMITS.digits) tooBig("digits", token.text.length, LP_LIMITS.digits);
    return Number(token.text);
  }

  #signed(): number {
    const negative = this.#peek()?.text === "-";
    if (negative || this.#peek()?.text === "+") this.#at++;
    const value = this.#number();
    return negative && value !== 0 ? -value : value;
  }

  #variable(): string {
    const token = this.#next("a variable");
    // Names that begin with e are read as exponents by some readers ("5 e1"), so the format forbids them.
    if (!NAME.test(token.text) || RESERVED.has(token.text.toLowerCase()) || /^e\d/i.test(token.text)) {
      refuse(token, "a variable");
    }
    return token.text;
  }

  /** `2 <= x <= 5`, `x <= 5`, `x >= 2`, `x = 3`: each side becomes a row. A free variable is refused. */
  #boundRows(): Row[] {
    const start = this.#peek();
    const rows: Row[] = [];
    if (start && (NUMBER.test(start.text) || start.text === "-" || start.text === "+")) {
      const low = this.#signed();
      const relation = this.#relation();
      const variable = this.#variable();
      rows.push({ terms: [term(variable)], relation: mirror(relation), bound: low });
      if (RELATION[this.#peek()?.text ?? ""]) {
        rows.push({ terms: [term(variable)], relation: this.#relation(), bound: this.#signed() });
      }
      return rows;
    }
    const variable = this.#variable();
    rows.push({ terms: [term(variable)], relation: this.#relation(), bound: this.#signed() });
    return rows;
  }
}

const sectionOf = (token: Token): Section | undefined => SECTION[token.text.toLowerCase()];
const mirror = (relation: Relation): Relation => (relation === "<=" ? ">=" : relation === ">=" ? "<=" : "=");
const tooBig = (what: string, count: number, limit: number): never => {
  throw new Refusal(fail("OR_LP_SIZE", { what, count, limit }));
};
