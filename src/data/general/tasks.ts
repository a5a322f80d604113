import type { Random } from "../../base/index.ts";
import { type Language, listText, SERIES_SHAPES, seriesText } from "../phrase.ts";
import { EN, LETTERS, ZH } from "./words.ts";

/**
 * Small rewriting tasks with one right answer: copying numbers, sorting, tables to expressions. They teach what any text worker
 * needs and hold nothing of the operations-research answer format (no objective, no sections, no x and y variables).
 */
export type Task = { readonly prompt: string; readonly answer: string };
type Maker = (random: Random, language: Language) => Task;

const words = (language: Language) => (language === "en" ? EN : ZH);
const some = <T>(random: Random, items: readonly T[], count: number): T[] =>
  random.shuffle(items).slice(0, count);
const numbers = (random: Random, count: number, high: number): number[] =>
  Array.from({ length: count }, () => random.int(1, high));
const say = (language: Language, en: string, zh: string): string => (language === "en" ? en : zh);
const letters = (random: Random, count: number): string[] => {
  if (random.next() < 0.3) return some(random, LETTERS, count).sort();
  const letter = random.pick(LETTERS);
  return Array.from({ length: count }, (_unused, i) => `${letter}${i + 1}`);
};
const sum = (values: readonly (number | string)[], symbols: readonly string[]): string =>
  values.map((value, i) => `${value} ${symbols[i]}`).join(" + ");
const high = (random: Random): number => random.pick([9, 20, 99, 300]);

/** "3 for apples, 5 for books" -> "3 a + 5 b". */
const expression: Maker = (random, language) => {
  const n = random.int(2, 5);
  const things = some(random, words(language).things, n);
  const values = numbers(random, n, high(random));
  const symbols = letters(random, n);
  const named = listText(
    language,
    things.map((thing, i) => say(language, `${symbols[i]} for ${thing}`, `${thing}記為${symbols[i]}`)),
  );
  const series = seriesText(language, random.pick(SERIES_SHAPES), things, values);
  const field = random.pick(words(language).fields);
  return {
    prompt: random.pick([
      say(
        language,
        `Write ${named}. The ${field} is ${series}. Give the sum.`,
        `${named}。${field}：${series}。寫成和式。`,
      ),
      say(language, `${named}. ${field}: ${series}. Sum?`, `${named}。各${field}是${series}。和式？`),
    ]),
    answer: sum(values, symbols),
  };
};

/** Several rows of a table, each to an expression; half of the time the table is told by columns. */
const tableRows: Maker = (random, language) => {
  const n = random.int(2, 3);
  const m = random.int(2, 3);
  const things = some(random, words(language).things, n);
  const fields = some(random, words(language).fields, m);
  const top = high(random);
  const table = fields.map(() => numbers(random, n, top));
  const symbols = letters(random, n);
  const byRow = random.next() < 0.6;
  const shape = random.pick(SERIES_SHAPES);
  const told = byRow
    ? fields.map((field, k) =>
        say(
          language,
          `${field}: ${seriesText("en", shape, things, table[k] ?? [])}.`,
          `${field}：${seriesText("zh", shape, things, table[k] ?? [])}。`,
        ),
      )
    : things.map((thing, i) => {
        const cells = fields.map((field, k) => `${field} ${table[k]?.[i]}`);
        return say(language, `${thing}: ${cells.join(", ")}.`, `${thing}：${cells.join("、")}。`);
      });
  return {
    prompt: say(
      language,
      `There are ${listText("en", things)}, written ${symbols.join(" ")}. ${told.join(" ")} One line for each of ${listText("en", fields)}.`,
      `有${listText("zh", things)}，記為${symbols.join(" ")}。${told.join("")}${listText("zh", fields)}各寫一行。`,
    ),
    answer: table.map((row) => sum(row, symbols)).join("\n"),
  };
};

/** "2 a plus 3 b is at most 20" -> "2 a + 3 b <= 20". */
const relation: Maker = (random, language) => {
  const n = random.int(1, 4);
  const symbols = letters(random, n);
  const values = numbers(random, n, high(random));
  const bound = random.int(2, 400);
  const [sign, en, zh] = random.pick([
    ["<=", ["at most", "no more than", "limited to"], ["最多", "不超過", "上限"]],
    [">=", ["at least", "no less than", "or more:"], ["至少", "不少於", "下限"]],
    ["=", ["exactly", "equal to"], ["恰好", "等於"]],
  ] as const);
  const bare = random.next() < 0.3;
  const left = bare ? symbols.join(" + ") : sum(values, symbols);
  const plus = bare ? symbols : values.map((value, i) => `${value} ${symbols[i]}`);
  return {
    prompt: say(
      language,
      `${listText("en", plus)} together are ${random.pick(en)} ${bound}. In signs?`,
      `${listText("zh", plus)}合計${random.pick(zh)}${bound}。用符號寫。`,
    ),
    answer: `${left} ${sign} ${bound}`,
  };
};

/** The cells of a grid, by rows and by columns. */
const grid: Maker = (random, language) => {
  const m = random.int(2, 4);
  const n = random.int(2, 4);
  const letter = random.pick(LETTERS);
  const cells = Array.from({ length: m }, (_r, i) =>
    Array.from({ length: n }, (_c, j) => `${letter}${i + 1}${j + 1}`),
  );
  const ask = random.pick(["all", "rows", "columns"] as const);
  const answer =
    ask === "all"
      ? cells.flat().join(" ")
      : ask === "rows"
        ? cells.map((row) => row.join(" + ")).join("\n")
        : Array.from({ length: n }, (_c, j) => cells.map((row) => row[j]).join(" + ")).join("\n");
  const en = {
    all: "List the cells.",
    rows: "Add the cells of each row.",
    columns: "Add the cells of each column.",
  }[ask];
  const zh = { all: "列出各格。", rows: "把每列的格相加。", columns: "把每行的格相加。" }[ask];
  return {
    prompt: say(
      language,
      `A grid ${letter} has ${m} rows and ${n} columns. ${en}`,
      `格子${letter}有${m}列${n}行。${zh}`,
    ),
    answer,
  };
};

const extract: Maker = (random, language) => {
  const n = random.int(2, 6);
  const things = some(random, words(language).things, n);
  const values = numbers(random, n, high(random));
  const series = seriesText(language, random.pick(SERIES_SHAPES), things, values);
  const who = random.pick(words(language).people);
  return {
    prompt: say(
      language,
      `${who} counts ${listText("en", things)}: ${series}. Which numbers?`,
      `${who}數了${listText("zh", things)}：${series}。有哪些數？`,
    ),
    answer: values.join(" "),
  };
};

const keyValues: Maker = (random, language) => {
  const n = random.int(2, 5);
  const keys = some(random, words(language).fields, n);
  const values = numbers(random, n, high(random));
  const wanted = random.int(0, n - 1);
  const told = keys.map((key, i) => `${key}: ${values[i]}`).join("; ");
  return random.next() < 0.5
    ? {
        prompt: say(language, `Rewrite. ${told}`, `改寫。${told}`),
        answer: keys.map((key, i) => `${key}=${values[i]}`).join(" "),
      }
    : {
        prompt: say(language, `${told}. What is the ${keys[wanted]}?`, `${told}。${keys[wanted]}是多少？`),
        answer: String(values[wanted]),
      };
};

const order: Maker = (random, language) => {
  const values = numbers(random, random.int(3, 6), high(random));
  const kind = random.pick(["copy", "reverse", "sort"] as const);
  const result =
    kind === "copy" ? values : kind === "reverse" ? values.toReversed() : values.toSorted((a, b) => a - b);
  const en = { copy: "Copy", reverse: "Reverse", sort: "Sort" }[kind];
  const zh = { copy: "抄寫", reverse: "倒序", sort: "排序" }[kind];
  return {
    prompt: say(language, `${en}: ${values.join(" ")}`, `${zh}：${values.join(" ")}`),
    answer: result.join(" "),
  };
};

const arithmetic: Maker = (random, language) => {
  const a = random.int(1, 60);
  const b = random.int(1, 39);
  const subtract = random.next() < 0.5 && a >= b;
  return {
    prompt: say(
      language,
      `How much is ${a} ${subtract ? "minus" : "plus"} ${b}?`,
      `${a}${subtract ? "減" : "加"}${b}是多少？`,
    ),
    answer: String(subtract ? a - b : a + b),
  };
};

/** Position in a list: "number each of them". */
const numbering: Maker = (random, language) => {
  const n = random.int(2, 6);
  const things = some(random, words(language).things, n);
  const letter = random.pick(LETTERS);
  if (random.next() < 0.5) {
    return {
      prompt: say(
        language,
        `Number ${listText("en", things)} with ${letter}.`,
        `用${letter}給${listText("zh", things)}編號。`,
      ),
      answer: things.map((_thing, i) => `${letter}${i + 1}`).join(" "),
    };
  }
  const at = random.int(0, n - 1);
  return {
    prompt: say(
      language,
      `${listText("en", things)}: where do ${things[at]} stand?`,
      `${listText("zh", things)}：${things[at]}排第幾？`,
    ),
    answer: String(at + 1),
  };
};

/** With repeats as weights: the rewriting tasks come more often than the rest. */
const MAKERS: readonly Maker[] = [
  expression,
  expression,
  expression,
  tableRows,
  tableRows,
  tableRows,
  relation,
  relation,
  grid,
  grid,
  extract,
  keyValues,
  order,
  arithmetic,
  numbering,
];

export const makeTask = (random: Random, language: Language): Task => random.pick(MAKERS)(random, language);
