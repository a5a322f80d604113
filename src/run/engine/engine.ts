import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { err, ok, type Result } from "../../base/index.ts";
import type { ZygoteCommand } from "../agent/zygote.ts";
import { fail } from "../errors.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** Folder of the installation: where `engine/` and `.venv/` lie. */
export const ROOT = resolve(import.meta.dirname, "../../..");

/** The environment's Python: TESSERA_VENV, else `.venv` of the installation. */
export function enginePython(env: Env): Result<string> {
  const path = join(env["TESSERA_VENV"] ?? join(ROOT, ".venv"), "bin", "python");
  return existsSync(path) ? ok(path) : err(fail("RUN_PYTHON", { why: path }, { file: path }));
}

/** Variables under which every process of the engine runs. */
export function engineEnv(env: Env): Record<string, string> {
  const path = [join(ROOT, "engine"), env["PYTHONPATH"]].filter(Boolean).join(":");
  return {
    PYTHONPATH: path,
    PYTHONDONTWRITEBYTECODE: "1",
    PYTHONUNBUFFERED: "1",
    OMP_NUM_THREADS: env["OMP_NUM_THREADS"] ?? "1",
  };
}

/** How agents start the engine's zygote. */
export function engineZygote(env: Env): Result<ZygoteCommand> {
  const python = enginePython(env);
  if (!python.ok) return python;
  return ok({ command: python.value, args: ["-m", "tessera_engine", "zygote"], env: engineEnv(env) });
}
