import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { EXIT } from "../base/index.ts";

test.each(["en", "zh"])("docs/%s/exit-codes.md lists every exit code and no other", (lang) => {
  const page = readFileSync(join(import.meta.dirname, "../../docs", lang, "exit-codes.md"), "utf8");
  const listed = [...page.matchAll(/^\| (\d+) \|/gm)].map((match) => Number(match[1]));
  expect(listed).toEqual(Object.values(EXIT));
});
