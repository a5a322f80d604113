import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

const NAME = /^step-(\d+)$/;

/** Published checkpoints of a folder, oldest first. A half-written one has another name and is not among them. */
export function listCheckpoints(folder: string): { step: number; path: string }[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .flatMap((name) => {
      const step = NAME.exec(name)?.[1];
      const path = join(folder, name);
      return step !== undefined && existsSync(join(path, "manifest.json"))
        ? [{ step: Number(step), path }]
        : [];
    })
    .sort((a, b) => a.step - b.step);
}

/** Removes all but the newest `keep` (at least one). Half-written ones are the writer's own. */
export function prune(folder: string, keep: number): number {
  const old = listCheckpoints(folder).slice(0, -Math.max(1, keep));
  for (const { path } of old) {
    // The manifest goes first: a removal that is cut short leaves nothing that looks whole.
    rmSync(join(path, "manifest.json"), { force: true });
    rmSync(path, { recursive: true, force: true });
  }
  return old.length;
}
