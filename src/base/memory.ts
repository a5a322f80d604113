import { readFileSync } from "node:fs";
import { freemem, totalmem } from "node:os";
import { dirname, join } from "node:path";

/** Control groups, version 2 and 1: mount, limit, use, and the statistic of file pages that can be dropped. */
const GROUPS: Readonly<Record<string, readonly [string, string, string, string]>> = {
  "": ["sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"],
  memory: ["sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"],
};

/**
 * Bytes that processes here can still take, and the most they ever could: what the kernel can give, or what is left of the tightest
 * limit of the control groups around this process.
 *
 * @param system root of /proc and /sys
 */
export function machineMemory(system = "/"): { free: number; total: number } {
  const info = table(join(system, "proc/meminfo"));
  const kib = (name: string, otherwise: number) => (info[name] === undefined ? otherwise : info[name] * 1024);
  let total = kib("MemTotal:", totalmem());
  let free = kib("MemAvailable:", freemem());
  for (const line of text(join(system, "proc/self/cgroup")).split("\n")) {
    const [, kind = "-", ...rest] = line.split(":");
    const group = GROUPS[kind];
    if (!group) continue;
    const [root, limitName, usedName, filePages] = group;
    // Inside a container the path may be the host's; what is mounted at the root is then the container's own group.
    for (let inside = rest.join(":"); ; inside = dirname(inside)) {
      const folder = join(system, root, inside);
      const limit = numberIn(join(folder, limitName));
      const used = numberIn(join(folder, usedName));
      if (limit !== null && used !== null && limit < total) {
        total = limit;
        free = Math.min(free, limit - used + (table(join(folder, "memory.stat"))[filePages] ?? 0));
      }
      if (inside === dirname(inside)) break;
    }
  }
  return { free: Math.max(0, free), total };
}

function table(path: string): Record<string, number> {
  const rows = text(path)
    .split("\n")
    .map((line) => line.trim().split(/\s+/));
  return Object.fromEntries(rows.flatMap(([name, value]) => (name && value ? [[name, Number(value)]] : [])));
}

function text(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function numberIn(path: string): number | null {
  const value = text(path).trim();
  return /^\d+$/.test(value) ? Number(value) : null;
}
