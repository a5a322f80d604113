import type { Verb } from "../context.ts";
import { completion } from "./completion.ts";
import { evaluate } from "./eval.ts";
import { report } from "./report.ts";

/** Verbs in the order of the help. */
export const verbs: readonly Verb[] = [evaluate, report, completion];
