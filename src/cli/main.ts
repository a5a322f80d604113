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
} from "../base/index.ts";
import { makeContext } from "./context.ts";
import { verbs } from "./verbs/index.ts";

/** The language is needed before parsing, for the help texts, so it is looked up by hand first. */
function askedLang(argv: readonly string[]): Lang {
  const at = argv.findIndex((word) => word === "--lang" || word.startsWith("--lang="));
  const word = at < 0 ? undefined : argv[at];
  return pickLang(word?.includes("=") ? word.split("=")[1] : argv[at + 1 || argv.length], process.env);
}

async function main(argv: readonly string[]): Promise<ExitCode> {
  const lang = askedLang(argv);
  const zh = lang === "zh";
  let exit: ExitCode = EXIT.done;
  const program = new Command("tessera")
    .description(
      zh
        ? "後訓練混合專家語言模型的全部參數：佈局、訓練、平衡、守夜、閉環。"
        : "Post-trains mixture-of-experts language models, all parameters: lays out, trains, balances, watches, closes the loop.",
    )
    .option("--json", zh ? "在標準輸出給一份 JSON 文件" : "print one JSON document on stdout", false)
    .option("-q, --quiet", zh ? "不在標準錯誤輸出說明" : "no talk on stderr", false)
    .option("--lang <en|zh>", zh ? "螢幕語言" : "language of the screen")
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError();
  for (const verb of verbs) {
    const command = program
      .command(verb.name)
      .description(say(verb.summary, lang))
      .exitOverride()
      // Global options may stand after the verb too, as people type them.
      .option("--json", zh ? "在標準輸出給一份 JSON 文件" : "print one JSON document on stdout", false)
      .option("-q, --quiet", zh ? "不在標準錯誤輸出說明" : "no talk on stderr", false)
      .option("--lang <en|zh>", zh ? "螢幕語言" : "language of the screen");
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
    if (cause instanceof CommanderError) return cause.exitCode === 0 ? EXIT.done : EXIT.usage;
    if (cause instanceof TesseraError) {
      if (argv.includes("--json")) process.stdout.write(`${JSON.stringify(errorJson(cause))}\n`);
      process.stderr.write(`${renderError(cause, lang)}\n`);
      return cause.entry.exit;
    }
    throw cause;
  }
}

process.exitCode = await main(process.argv.slice(2));
