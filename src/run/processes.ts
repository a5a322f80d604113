import { readFileSync } from "node:fs";

/** A process beyond doubt: ids are used again, a start time is not. */
export type ProcessId = { readonly pid: number; readonly startTime: string };

type Stat = { readonly state: string; readonly startTime: string; readonly cpuSeconds: number };

/** Clock ticks a second of the kernel's interface: 100 on every Linux that Node runs on. */
const TICKS = 100;

/** What the kernel says of a process; nothing when there is none (or no /proc). */
export function processStat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name in parentheses may hold anything; the fields after its last parenthesis are plain.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return {
      state: fields[0] as string,
      startTime: fields[19] as string,
      cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS,
    };
  } catch {
    return undefined;
  }
}

export function processId(pid: number): ProcessId {
  return { pid, startTime: processStat(pid)?.startTime ?? "" };
}

/** True while exactly that process runs; a zombie does not. */
export function isAlive({ pid, startTime }: ProcessId): boolean {
  const stat = processStat(pid);
  return stat !== undefined && stat.startTime === startTime && stat.state !== "Z" && stat.state !== "X";
}

/** Ends a process that leads a group, with the whole group; nothing when it is gone. */
export function endGroup(leader: ProcessId): void {
  if (!isAlive(leader)) return;
  try {
    process.kill(-leader.pid, "SIGKILL");
  } catch {
    // It ended by itself in the meantime.
  }
}

/** Sends a signal to exactly that process; false when it is gone. */
export function signalProcess(id: ProcessId, signal: NodeJS.Signals | number): boolean {
  if (!isAlive(id)) return false;
  try {
    process.kill(id.pid, signal);
    return true;
  } catch {
    return false;
  }
}
