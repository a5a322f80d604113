import { Command, CommanderError } from "commander";
import {
  errorJson,
  EXIT,
  type ExitCode,
  type Lang,
  pickLang,
  renderError,
  say,
  TesseraError,
  type Text,
} from "../base/index.ts";
import { makeContext } from "./context.ts";
import { addGlobal, localize, usageError } from "./help/index.ts";
import { verbs } from "./verbs/index.ts";

const ABOUT: Text = {
  en: "Post-trains mixture-of-experts language models, all parameters: lays out, trains, balances, watches, closes the loop.",
  zh: "後訓練混合專家語言模型的全部參數：佈局、訓練、平衡、守夜、閉環。",
};

/** The language is needed before parsing, for the help texts, so it is looked up by hand first. */
function askedLang(argv: readonly string[]): Lang {
  const at = argv.findIndex((word) => word === "--lang" || word.startsWith("--lang="));
  const word = at < 0 ? undefined : argv[at];
  return pickLang(word?.includes("=") ? word.split("=")[1] : argv[at + 1 || argv.length], process.env);
}

async function main(argv: readonly string[]): Promise<ExitCode> {
  const lang = askedLang(argv);
  let exit: ExitCode = EXIT.done;
  const program = new Command("tessera")
    .description(say(ABOUT, lang))
    .exitOverride()
    .configureOutput({ outputError: () => undefined });
  addGlobal(program, lang);
  localize(program, lang);
  for (const verb of verbs) {
    const command = program
      .command(verb.name)
      .description(say(verb.summary, lang))
      .exitOverride()
      .copyInheritedSettings(program);
    addGlobal(command, lang);
    verb.define(command, async (run) => {
      const options = command.optsWithGlobals() as { json?: boolean; quiet?: boolean };
      const json = Boolean(options.json || program.opts()["json"]);
      exit = await run(
        makeContext({ lang, json, quiet: Boolean(options.quiet || program.opts()["quiet"]) }, process),
      );
    });
  }
  try {
    await program.parseAsync([...argv], { from: "user" });
    return exit;
  } catch (cause) {
    if (cause instanceof CommanderError) {
      // Help that was asked for, or shown because nothing was, is no failure to explain.
      if (cause.code.startsWith("commander.help")) return cause.exitCode === 0 ? EXIT.done : EXIT.usage;
      const verb = verbs.find(({ name }) => argv.includes(name));
      return failed(usageError(cause, `tessera ${verb ? `${verb.name} ` : ""}--help`), argv, lang);
    }
    if (cause instanceof TesseraError) return failed(cause, argv, lang);
    throw cause;
  }
}

/** Tells of an expected failure on both streams; returns the exit code. */
function failed(error: TesseraError, argv: readonly string[], lang: Lang): ExitCode {
  if (argv.includes("--json")) process.stdout.write(`${JSON.stringify(errorJson(error))}\n`);
  process.stderr.write(`${renderError(error, lang)}\n`);
  return error.entry.exit;
}

// A reader that has seen enough (head) closes the pipe; that is no fault of ours.
process.stdout.on("error", (cause: NodeJS.ErrnoException) => {
  if (cause.code !== "EPIPE") throw cause;
  process.exit(EXIT.done);
});
process.exitCode = await main(process.argv.slice(2));
