import type { Lang } from "../../base/index.ts";
import { loadReportInput, type ReportContext } from "./load/load.ts";
import { renderReport } from "./render.ts";
import type { ReportInput } from "./types.ts";

export { renderReport, type ReportContext, type ReportInput };

/** The report of a run folder; `lang` is the language it opens in. Throws REPORT_FOLDER when it is no run folder. */
export function reportOf(
  runFolder: string,
  context: ReportContext & { readonly lang: Lang },
): { html: string; input: ReportInput } {
  const input = loadReportInput(runFolder, context);
  return { html: renderReport(input, context.lang), input };
}
