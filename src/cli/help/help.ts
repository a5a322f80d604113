import type { Argument, Command, Help, Option } from "commander";
import { type Lang, type Text, say } from "../../base/index.ts";
import { CHINESE } from "./chinese.ts";

const TITLES: Readonly<Record<string, string>> = {
  "Usage:": "用法：",
  "Arguments:": "引數：",
  "Options:": "選項：",
  "Commands:": "命令：",
};

/** Options that stand before or after any verb, as people type them. */
export const GLOBAL: readonly { readonly flags: string; readonly text: Text }[] = [
  { flags: "--json", text: { en: "print one JSON document on stdout", zh: "在標準輸出給一份 JSON 文件" } },
  { flags: "-q, --quiet", text: { en: "no talk on stderr", zh: "不在標準錯誤輸出說明" } },
  { flags: "--lang <en|zh>", text: { en: "language of the screen", zh: "螢幕語言" } },
];

/** Adds the global options to the program or to one of its verbs. */
export function addGlobal(command: Command, lang: Lang): void {
  for (const { flags, text } of GLOBAL) command.option(flags, say(text, lang));
}

/** Help in the user's language: descriptions, headings, and what is said of defaults and choices. */
export function localize(command: Command, lang: Lang): void {
  if (lang !== "zh") return;
  command.configureHelp({
    styleTitle: (title) => TITLES[title] ?? title,
    optionDescription(this: Help, option) {
      return described(option, option.defaultValue === false);
    },
    argumentDescription(this: Help, argument) {
      return described(argument, false);
    },
    subcommandDescription: (verb) =>
      verb.name() === "help" ? "顯示命令的說明" : verb.summary() || verb.description(),
  });
}

/** Text and, in brackets, choices and default. `silent` leaves out the default of a switch, which says nothing. */
function described(one: Option | Argument, silent: boolean): string {
  const extra: string[] = [];
  if (one.argChoices) extra.push(`可選：${one.argChoices.join("、")}`);
  if (one.defaultValue !== undefined && one.defaultValue !== "" && !silent) {
    extra.push(`預設：${one.defaultValueDescription ?? String(one.defaultValue)}`);
  }
  const text = CHINESE[one.description] ?? one.description;
  return extra.length > 0 ? `${text}（${extra.join("；")}）` : text;
}
