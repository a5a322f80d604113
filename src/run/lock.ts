import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";

/** SQLITE_BUSY: another process holds the lock. */
const BUSY = 5;

/**
 * An exclusive lock on a file that the kernel frees when its holder dies, however it dies. Node offers no flock; SQLite takes a
 * real fcntl lock, which also holds across the nodes of a shared file system that supports locks.
 */
export type Lock = { release(): void };

/** The lock, or nothing when another process holds it. */
export function tryLock(path: string): Lock | undefined {
  mkdirSync(dirname(path), { recursive: true });
  const database = new DatabaseSync(path);
  try {
    database.exec("PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    return { release: () => database.close() };
  } catch (cause) {
    database.close();
    if ((cause as { errcode?: number }).errcode === BUSY) return undefined;
    throw cause;
  }
}
