import { Command } from "commander";
import { expect, test } from "vitest";
import { verbs } from "../verbs/index.ts";
import { CHINESE } from "./chinese.ts";
import { usageError } from "./usage.ts";

function descriptions(): Set<string> {
  const found = new Set<string>();
  for (const verb of verbs) {
    const command = new Command(verb.name);
    verb.define(command, async () => undefined);
    for (const one of [...command.options, ...command.registeredArguments]) found.add(one.description);
  }
  found.delete("");
  return found;
}

test("every description of the help has its Chinese, and no Chinese is left over", () => {
  const said = [...descriptions(), "display help for command"].sort();
  expect(Object.keys(CHINESE).sort()).toEqual(said);
});

test.each([
  [["plan", "--modle", "x"], "CLI_OPTION", "--modle", "--model"],
  [["bench"], "CLI_COMMAND", "bench", undefined],
  [["estimat"], "CLI_COMMAND", "estimat", "estimate"],
  [["run"], "CLI_MISSING", "recipe", undefined],
  [["run", "--runs"], "CLI_MISSING", "--runs <folder>", undefined],
  [["ps", "one"], "CLI_EXCESS", "0 arguments but got 1.", undefined],
  [["balance", "x", "--format", "q"], "CLI_VALUE", "--format", undefined],
] as const)("tessera %j is %s", async (argv, code, what, meant) => {
  const program = new Command().exitOverride().configureOutput({ outputError: () => undefined });
  for (const verb of verbs) {
    const command = program.command(verb.name).exitOverride();
    command.copyInheritedSettings(program);
    verb.define(command, async () => undefined);
  }
  const cause = await program.parseAsync([...argv], { from: "user" }).then(
    () => undefined,
    (error) => error,
  );
  const error = usageError(cause, "tessera --help");
  expect(error.code).toBe(code);
  expect(String(error.params["what"])).toContain(what);
  expect(String(error.params["meant"])).toBe(meant === undefined ? "" : `; did you mean ${meant}?`);
});
