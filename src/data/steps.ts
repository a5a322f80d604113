import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { hashJson, sha256, sha256File, syncFolder, writeFileAtomic } from "../base/node.ts";
import { fail } from "./errors.ts";

/**
 * A step of the data's way is a pure function of (code, parameters, content of its inputs), and so is its folder's name:
 * `dedup-3f2a…`. It is written under a hidden name and renamed when complete, so a folder that can be seen is finished;
 * asking for it again reads its manifest and checks the files instead of working. No clock enters any name or manifest.
 */
export type Manifest = {
  readonly schema: "tessera.step/v1";
  readonly step: string;
  readonly id: string;
  /** Hash of the source files that made it. */
  readonly code: string;
  readonly parameters: unknown;
  /** Content hash of every input, by name. */
  readonly inputs: Readonly<Record<string, string>>;
  readonly counts: Readonly<Record<string, number>>;
  /** How many were taken out, by reason. */
  readonly reasons: Readonly<Record<string, number>>;
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly sha256: string }[];
  /** Hash over the files: what the next step names as its input. */
  readonly content: string;
};

export type StepResult = { readonly folder: string; readonly manifest: Manifest; readonly reused: boolean };

export type StepRequest = {
  readonly step: string;
  readonly code: string;
  readonly parameters: unknown;
  readonly inputs: Readonly<Record<string, string>>;
};

export type StepOutput = {
  /** Content by file name. */
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  readonly counts: Readonly<Record<string, number>>;
  readonly reasons?: Readonly<Record<string, number>>;
};

export async function runStep(
  root: string,
  request: StepRequest,
  work: () => Promise<StepOutput> | StepOutput,
): Promise<StepResult> {
  const id = hashJson({ ...request, layout: 1 }).slice(0, 16);
  const name = `${request.step}-${id}`;
  const folder = join(root, name);
  if (existsSync(folder)) return { folder, manifest: verifyStep(folder), reused: true };
  const { files, counts, reasons = {} } = await work();
  sweep(root);
  const hidden = join(root, `.${name}.${process.pid}.tmp`);
  mkdirSync(hidden, { recursive: true });
  const listed = Object.entries(files)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([file, content]) => {
      writeFileAtomic(join(hidden, file), content);
      return { name: file, bytes: statSync(join(hidden, file)).size, sha256: sha256(content) };
    });
  const manifest: Manifest = {
    schema: "tessera.step/v1",
    step: request.step,
    id,
    code: request.code,
    parameters: request.parameters,
    inputs: request.inputs,
    counts,
    reasons,
    files: listed,
    content: hashJson(listed),
  };
  writeFileAtomic(join(hidden, "manifest.json"), `${JSON.stringify(manifest, null, 1)}\n`);
  try {
    renameSync(hidden, folder);
  } catch (cause) {
    // Another process was faster with the same step: then its folder has the same content.
    rmSync(hidden, { recursive: true, force: true });
    if (!existsSync(folder)) throw cause;
    return { folder, manifest: verifyStep(folder), reused: true };
  }
  syncFolder(root);
  return { folder, manifest, reused: false };
}

/** Removes what killed processes left half-written; a living one's work is let be. */
function sweep(root: string): void {
  if (!existsSync(root)) return;
  for (const entry of readdirSync(root)) {
    const pid = /^\..+\.(\d+)\.tmp$/.exec(entry)?.[1];
    if (pid !== undefined && (Number(pid) === process.pid || !alive(Number(pid)))) {
      rmSync(join(root, entry), { recursive: true, force: true });
    }
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** The manifest of a finished step whose files are all as they were written; throws DATA_STEP with the folder to delete. */
export function verifyStep(folder: string): Manifest {
  const damaged = (detail: string, cause?: unknown) =>
    fail(
      "DATA_STEP",
      { step: folder.split("/").at(-1) ?? folder, detail, folder },
      { file: join(folder, "manifest.json") },
      cause,
    );
  let manifest: Manifest;
  try {
    manifest = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8")) as Manifest;
  } catch (cause) {
    throw damaged(cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (!Array.isArray(manifest.files) || manifest.content !== hashJson(manifest.files))
    throw damaged("manifest.json was changed");
  for (const { name, sha256: expected } of manifest.files) {
    const path = join(folder, name);
    if (!existsSync(path)) throw damaged(`${name} is missing`);
    if (sha256File(path) !== expected) throw damaged(`${name} was changed`);
  }
  return manifest;
}

/** Hash of the program's own source files in the folders given (tests left out): the code version in a lineage. */
export function codeVersion(folders: readonly string[]): string {
  const parts = folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && !entry.name.endsWith(".test.ts"))
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
      .map((path) => [path.slice(folder.length), sha256File(path)]),
  );
  return hashJson(parts).slice(0, 16);
}

/** How many of each reason. */
export function tally(reasons: Iterable<string>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const reason of reasons) counts[reason] = (counts[reason] ?? 0) + 1;
  return Object.fromEntries(Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1)));
}
