import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { machineMemory } from "./memory.ts";

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "memory-"));
  put("proc/meminfo", "MemTotal:       1000 kB\nMemFree:          10 kB\nMemAvailable:    800 kB\n");
  put("proc/self/cgroup", "0::/\n");
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

test("without a limit it is what the kernel can give", () => {
  expect(machineMemory(root)).toEqual({ free: 800 * 1024, total: 1000 * 1024 });
});

test("a container's limit counts, and file pages it can drop do not count as used", () => {
  put("sys/fs/cgroup/memory.max", "500000\n");
  put("sys/fs/cgroup/memory.current", "300000\n");
  put("sys/fs/cgroup/memory.stat", "anon 200000\ninactive_file 100000\n");
  expect(machineMemory(root)).toEqual({ free: 300_000, total: 500_000 });
});

test("the tightest of nested groups decides, in version 1 too", () => {
  put("proc/self/cgroup", "4:memory:/outer/inner\n0::/\n");
  const base = "sys/fs/cgroup/memory/outer";
  put(`${base}/memory.limit_in_bytes`, "400000");
  put(`${base}/memory.usage_in_bytes`, "399000");
  put(`${base}/inner/memory.limit_in_bytes`, "9223372036854771712");
  put(`${base}/inner/memory.usage_in_bytes`, "1000");
  expect(machineMemory(root)).toEqual({ free: 1000, total: 400_000 });
});

test("max is no limit, and no files at all fall back on the system's own count", () => {
  put("sys/fs/cgroup/memory.max", "max\n");
  put("sys/fs/cgroup/memory.current", "300000\n");
  expect(machineMemory(root).free).toBe(800 * 1024);
  expect(machineMemory(join(root, "nothing")).total).toBeGreaterThan(0);
});
