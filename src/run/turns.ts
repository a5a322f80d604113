import { setImmediate as nextTurn } from "node:timers/promises";

/** Turns of the event loop after which a connection that waited is accepted and its first words are read. */
const TURNS = 4;

/** Lets in what the kernel already holds for this process: whatever is judged after it does not pass over what was said before. */
export async function turns(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await nextTurn();
}
