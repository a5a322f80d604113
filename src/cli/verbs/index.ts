import type { Verb } from "../context.ts";
import { completion } from "./completion.ts";
import { data } from "./data.ts";

/** Verbs in the order of the help. */
export const verbs: readonly Verb[] = [data, completion];
