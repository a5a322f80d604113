import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { Argument } from "commander";
import { parse } from "yaml";
import { EXIT } from "../../base/index.ts";
import { dataFail, type Fate, readIndex, why } from "../../data/index.ts";
import {
  dataPart,
  type DataPart,
  type FunnelRow,
  funnelOf,
  runSteps,
  type StepName,
} from "../../domains/or/index.ts";
import type { Context, Verb } from "../context.ts";
import { table } from "../table.ts";

const ACTS = ["produce", "screen", "pack", "show"] as const;
type Act = (typeof ACTS)[number];
/** The last step that each act runs. */
const UNTIL: Readonly<Record<Exclude<Act, "show">, StepName>> = {
  produce: "gate",
  screen: "select",
  pack: "pack",
};

type Options = {
  readonly recipe?: string;
  readonly out: string;
  readonly seed?: number;
  readonly drafts?: number;
  readonly train?: number;
  readonly heldout?: number;
  readonly tokenizer?: string;
};

/** Produces, screens and packs problems, each step once; shows the funnel, or the fate of one sample. */
export const data: Verb = {
  name: "data",
  summary: {
    en: "produce, screen and pack training data; show its funnel or one sample's lineage",
    zh: "產生、篩選並打包訓練資料；顯示漏斗或單一樣本的來歷",
  },
  define(command, act) {
    const number = (text: string) => Number(text);
    command
      .addArgument(new Argument("<act>").choices(ACTS))
      .argument("[sample]", "show: id of a sample, its beginning, or its origin (seed/index)")
      .option("--out <folder>", "folder of the data", "data")
      .option("--recipe <file>", "YAML file whose `data` part is used")
      .option("--seed <number>", "seed of the generators", number)
      .option("--drafts <number>", "problems to draft", number)
      .option("--train <number>", "problems to take for training", number)
      .option("--heldout <number>", "problems to hold out", number)
      .option("--tokenizer <folder>", "use this tokenizer (a base model's) instead of training one")
      .action((name: Act, sample: string | undefined, options: Options) =>
        act(async (context) => {
          const folder = resolve(context.cwd, options.out);
          if (name !== "show")
            await runSteps(readPart(context, options), folder, UNTIL[name], reporter(context));
          if (name === "show" && sample !== undefined) showFate(context, why(folder, sample));
          else showFunnel(context, folder, funnelOf(readIndex(folder)));
          return EXIT.done;
        }),
      );
  },
};

/** The data part of the recipe with the options on top; what does not hold is named with its key. */
function readPart(context: Context, options: Options): DataPart {
  let given: Record<string, unknown> = {};
  const file = options.recipe === undefined ? undefined : resolve(context.cwd, options.recipe);
  if (file !== undefined) {
    if (!existsSync(file)) throw dataFail("DATA_RECIPE", { detail: `${file} is missing` }, { file });
    const document: unknown = parse(readFileSync(file, "utf8"));
    const part =
      document !== null && typeof document === "object" ? (document as { data?: unknown }).data : undefined;
    if (part !== null && typeof part === "object") given = part as Record<string, unknown>;
    else throw dataFail("DATA_RECIPE", { detail: "no `data` part" }, { file });
  }
  const { recipe: _recipe, out: _out, ...asked } = options;
  const own: Record<string, unknown> = Object.fromEntries(
    ["seed", "drafts", "train", "heldout", "tokenizer"].flatMap((key) =>
      key in asked ? [[key, asked[key as keyof typeof asked]]] : [],
    ),
  );
  if (typeof own["tokenizer"] === "string") own["tokenizer"] = resolve(context.cwd, own["tokenizer"]);
  const parsed = dataPart.safeParse({ ...given, ...own });
  if (parsed.success) return parsed.data;
  const detail = parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ");
  throw dataFail("DATA_RECIPE", { detail }, file === undefined ? {} : { file });
}

/** One line a step; on a terminal a counter that redraws. */
function reporter(context: Context) {
  return ({ step, done, of, reused }: { step: string; done: number; of: number; reused: boolean }): void => {
    const finished = done === of && of === 1;
    if (finished) {
      if (context.live) process.stderr.write("\r\u001b[2K");
      const note = reused
        ? context.say({ en: "done before", zh: "先前已完成" })
        : context.say({ en: "done", zh: "完成" });
      context.talk(`${step.padEnd(14)}${note}`);
    } else if (context.live) {
      process.stderr.write(`\r\u001b[2K${step.padEnd(14)}${of > 1 ? `${done}/${of}` : "..."}`);
    }
  };
}

function showFunnel(context: Context, folder: string, funnel: readonly FunnelRow[]): void {
  const reasons = (row: FunnelRow) =>
    Object.entries(row.reasons).map(([reason, count]) => `${reason} ${count}`);
  context.out(
    table(
      [
        { title: context.say({ en: "step", zh: "步驟" }) },
        { title: context.say({ en: "in", zh: "進" }), align: "right" },
        { title: context.say({ en: "out", zh: "出" }), align: "right" },
        { title: context.say({ en: "taken out, by reason", zh: "剔除原因" }) },
      ],
      funnel.map((row) => [row.step, String(row.in), String(row.out), reasons(row).join(", ")]),
    ),
  );
  context.data({ schema: "tessera.data.funnel/v1", folder, funnel });
}

function showFate(context: Context, fate: Fate): void {
  context.out(`${fate.id}\n${JSON.stringify(fate.record, null, 1)}\n`);
  context.out(
    table(
      [
        { title: context.say({ en: "step", zh: "步驟" }) },
        { title: context.say({ en: "code", zh: "程式" }) },
        { title: context.say({ en: "fate", zh: "去向" }) },
      ],
      fate.steps.map((step) => {
        const told =
          step.outcome === "kept"
            ? `${step.file}${step.row === undefined ? "" : ` row ${step.row}`}`
            : step.outcome === "dropped"
              ? `${step.reason}${step.of === undefined ? "" : ` (${step.of})`} ${step.detail ?? ""}`
              : "-";
        return [`${step.step}-${step.id}`, step.code, told];
      }),
    ),
  );
  context.data({ schema: "tessera.data.sample/v1", ...fate });
}
