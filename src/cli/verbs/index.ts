import type { Verb } from "../context.ts";
import { completion } from "./completion.ts";
import { estimate } from "./estimate.ts";
import { evaluate } from "./eval.ts";
import { plan } from "./plan.ts";

/** Verbs in the order of the help. */
export const verbs: readonly Verb[] = [plan, estimate, evaluate, completion];
