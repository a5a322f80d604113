import { errorJson, EXIT, type ExitCode, renderError, type TesseraError } from "../base/index.ts";
import type { Context } from "./context.ts";

/** Tells all faults of a recipe at once, so that a person mends it in one go; returns the exit code of the first. */
export function refuseRecipe(context: Context, faults: readonly TesseraError[]): ExitCode {
  for (const one of faults) context.talk(renderError(one, context.lang));
  const [first] = faults;
  if (!first) return EXIT.usage;
  context.data({ ...errorJson(first), schema: "tessera.error/v1", all: faults.map(errorJson) });
  return first.entry.exit;
}
