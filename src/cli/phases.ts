import type { Phases } from "../run/index.ts";

/** The phases that this installation can do besides training. */
export const phases: Phases = {};
