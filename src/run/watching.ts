import type { RunState } from "./journal/index.ts";
import type { Finding, Signal } from "./supervise/index.ts";

/** The watch as the controller sees it: one signal in, at most one finding out. `src/watch` makes it; runs only know this. */
export type Watch = (signal: Signal, run: RunState) => Finding | null;
