import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";

/** Modules of the page in the order in which they need each other. Their top-level names must differ. */
const MODULES = ["scale.ts", "chart.ts", "colour.ts", "client.ts"] as const;

/**
 * The page's script: the modules with their types taken off, put one after the other. The same files draw the charts when the report
 * is written, so page and file cannot differ, and no bundler is needed to write a report.
 */
export function pageScript(): string {
  const parts = MODULES.map((name) =>
    quietly(() => stripTypeScriptTypes(readFileSync(join(import.meta.dirname, name), "utf8")))
      .replace(/^import\s[^;]*;$/gm, "")
      .replace(/^export /gm, "")
      .replace(/[ \t]+$/gm, "")
      .replace(/\n{2,}/g, "\n"),
  );
  return `(() => {"use strict";${parts.join("\n")}})();`;
}

/** Node 24 runs this very code through the same function, but still prints a warning for whoever calls it by name. */
function quietly<T>(work: () => T): T {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return work();
  } finally {
    process.emitWarning = emitWarning;
  }
}
