import { styleText } from "node:util";
import { type ExitCode, type Lang, say, type Params, type Text } from "../base/index.ts";

/** What every verb gets: language, output form, and the two streams. stdout is data, stderr is talk. */
export type Context = {
  readonly lang: Lang;
  readonly json: boolean;
  readonly quiet: boolean;
  /** True when stderr is a terminal and colour is wanted: progress redraws in place; else plain lines. */
  readonly live: boolean;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Data for a person on stdout; nothing under `--json`. */
  out(text: string): void;
  /** The one JSON document of a command on stdout (`schema` first); nothing without `--json`. */
  data(document: { readonly schema: string } & Record<string, unknown>): void;
  /** Talk on stderr: progress, hints, warnings; silent with `--quiet`. */
  talk(text: string): void;
  /** A text in the user's language. */
  say(text: Text, params?: Params): string;
};

/** One verb of the command line, in a file of its own under `verbs/`. */
export type Verb = {
  readonly name: string;
  readonly summary: Text;
  /** Adds arguments, options and help to the command; `run` is called with the parsed values. */
  define(
    command: import("commander").Command,
    act: (run: (context: Context) => Promise<ExitCode> | ExitCode) => Promise<void>,
  ): void;
};

export function makeContext(
  options: { lang: Lang; json: boolean; quiet: boolean },
  process: {
    cwd(): string;
    env: Readonly<Record<string, string | undefined>>;
    stdout: NodeJS.WriteStream;
    stderr: NodeJS.WriteStream;
  },
): Context {
  const { lang, json, quiet } = options;
  return {
    lang,
    json,
    quiet,
    live:
      Boolean(process.stderr.isTTY) && !process.env["NO_COLOR"] && !quiet && process.env["CI"] === undefined,
    cwd: process.cwd(),
    env: process.env,
    out: (text) => {
      if (!json) process.stdout.write(`${text}\n`);
    },
    data: (document) => {
      if (json) process.stdout.write(`${JSON.stringify(document)}\n`);
    },
    talk: (text) => {
      if (!quiet) process.stderr.write(`${text}\n`);
    },
    say: (text, params) => say(text, lang, params),
  };
}

type Style = Parameters<typeof styleText>[0];

/** Text in a colour on a terminal, plain elsewhere (NO_COLOR and pipes are honoured by Node). */
export const paint = (style: Style, text: string): string =>
  styleText(style, text, { stream: process.stdout });
