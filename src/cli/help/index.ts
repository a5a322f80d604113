export { addGlobal, localize } from "./help.ts";
export { usageError } from "./usage.ts";
