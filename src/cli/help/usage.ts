import type { CommanderError } from "commander";
import { catalog, EXIT, type TesseraError } from "../../base/index.ts";

const fail = catalog({
  CLI_OPTION: {
    exit: EXIT.usage,
    message: { en: "there is no option {what}{meant}", zh: "沒有選項 {what}{meantZh}" },
    next: { en: "{help}", zh: "{help}" },
  },
  CLI_COMMAND: {
    exit: EXIT.usage,
    message: { en: "there is no command {what}{meant}", zh: "沒有命令 {what}{meantZh}" },
    next: { en: "{help}", zh: "{help}" },
  },
  CLI_MISSING: {
    exit: EXIT.usage,
    message: { en: "{what} is missing", zh: "缺少 {what}" },
    next: { en: "{help}", zh: "{help}" },
  },
  CLI_EXCESS: {
    exit: EXIT.usage,
    message: { en: "more arguments than the command takes ({what})", zh: "引數多於命令所需（{what}）" },
    next: { en: "{help}", zh: "{help}" },
  },
  CLI_VALUE: {
    exit: EXIT.usage,
    message: { en: "{what}", zh: "數值不合用：{what}" },
    next: { en: "{help}", zh: "{help}" },
  },
});

/** What commander found wrong with the words of a command, as a coded error. `help` is the command that explains them. */
export function usageError(cause: CommanderError, help: string): TesseraError {
  const text = cause.message.replace(/^error: /, "");
  const [first = text] = text.split("\n");
  const what = /'([^']*)'/.exec(first)?.[1] ?? first;
  const guess = /Did you mean (?:one of )?(.+)\?\)/.exec(text)?.[1];
  const params = {
    what,
    help,
    meant: guess === undefined ? "" : `; did you mean ${guess}?`,
    meantZh: guess === undefined ? "" : `；是否指 ${guess}？`,
  };
  switch (cause.code) {
    case "commander.unknownOption":
      return fail("CLI_OPTION", params);
    case "commander.unknownCommand":
      return fail("CLI_COMMAND", params);
    case "commander.missingArgument":
    case "commander.optionMissingArgument":
    case "commander.missingMandatoryOptionValue":
      return fail("CLI_MISSING", params);
    case "commander.excessArguments":
      return fail("CLI_EXCESS", { ...params, what: first.replace(/^.*Expected /, "") });
    default:
      return fail("CLI_VALUE", { ...params, what: first });
  }
}
