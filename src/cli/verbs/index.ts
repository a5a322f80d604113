import type { Verb } from "../context.ts";
import { balance } from "./balance.ts";
import { completion } from "./completion.ts";

/** Verbs in the order of the help. */
export const verbs: readonly Verb[] = [balance, completion];
