import type { Verb } from "../context.ts";
import { balance } from "./balance.ts";
import { completion } from "./completion.ts";
import { data } from "./data.ts";
import { estimate } from "./estimate.ts";
import { evalVerb } from "./eval.ts";
import { plan } from "./plan.ts";

/** Verbs in the order of the help. */
export const verbs: readonly Verb[] = [plan, estimate, data, evalVerb, balance, completion];
