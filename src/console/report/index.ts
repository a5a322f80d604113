export { renderReport } from "./render.ts";
export type { ReportInput } from "./types.ts";
