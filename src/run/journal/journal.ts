import { join } from "node:path";
import { AppendLog } from "../../base/node.ts";
import { fail } from "../errors.ts";
import type { JournalEvent, NewEvent } from "./events.ts";
import { reduce, replay, type RunState } from "./reduce.ts";

export const JOURNAL_FILE = "journal.ndjson";

/** The journal of a run folder, open for writing, with the state it adds up to. The caller holds the run's lock. */
export class Journal {
  readonly path: string;
  readonly #log: AppendLog<JournalEvent>;
  readonly #now: () => number;
  readonly #watchers: ((event: JournalEvent, state: RunState) => void)[] = [];
  #state: RunState;
  /** Bytes of a torn last line that were cut when it was opened. */
  readonly cutBytes: number;

  constructor(folder: string, now: () => number) {
    this.path = join(folder, JOURNAL_FILE);
    const { log, records, cutBytes } = AppendLog.open<JournalEvent>(this.path);
    this.#log = log;
    this.#now = now;
    this.#state = replay(records);
    this.cutBytes = cutBytes;
  }

  get state(): RunState {
    return this.#state;
  }

  /** Durable when it returns. A full disk or a dead one is told as RUN_JOURNAL, and the act must not happen. */
  write(event: NewEvent): RunState {
    const stamped = { t: this.#now(), ...event } as JournalEvent;
    try {
      this.#log.append(stamped);
    } catch (cause) {
      const why = (cause as NodeJS.ErrnoException).code ?? String(cause);
      throw fail("RUN_JOURNAL", { path: this.path, why }, { file: this.path }, cause);
    }
    this.#state = reduce(this.#state, stamped);
    for (const watcher of this.#watchers) watcher(stamped, this.#state);
    return this.#state;
  }

  /** Calls back after each event is on disk. */
  onEvent(watcher: (event: JournalEvent, state: RunState) => void): void {
    this.#watchers.push(watcher);
  }

  close(): void {
    this.#log.close();
  }
}

/** Events of a run that another process may be writing; empty when there are none yet. */
export function readJournal(folder: string): JournalEvent[] {
  try {
    return AppendLog.read<JournalEvent>(join(folder, JOURNAL_FILE));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw cause;
  }
}
