/** Launchers start agents; the local one is the first. */
export type { Launcher } from "./launcher.ts";
export { localLauncher } from "./local.ts";
