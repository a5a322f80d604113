import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { err, ok, type Result } from "../../base/index.ts";
import { machineMemory } from "../../base/node.ts";
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

/** The oldest torch that the engine runs on. */
const TORCH_MIN = [2, 10] as const;

/** What is wrong with a torch of this version; nothing when it is new enough. */
export function torchFault(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
  const good = major > TORCH_MIN[0] || (major === TORCH_MIN[0] && minor >= TORCH_MIN[1]);
  return good ? undefined : `torch ${version} is older than ${TORCH_MIN.join(".")}`;
}

/** What processes of this node can still take and all they could, in bytes: a process of the engine looks at its accelerator only. */
export function hostMemoryEnv(): Record<string, string> {
  const { free, total } = machineMemory();
  return { TESSERA_MEMORY: `${free}/${total}` };
}

/** Variables under which every process of the engine runs; the same for the same `env`, whatever happens on the machine. */
function steadyEnv(env: Env): Record<string, string> {
  const path = [join(ROOT, "engine"), env["PYTHONPATH"]].filter(Boolean).join(":");
  return {
    PYTHONPATH: path,
    PYTHONDONTWRITEBYTECODE: "1",
    PYTHONUNBUFFERED: "1",
    OMP_NUM_THREADS: env["OMP_NUM_THREADS"] ?? "1",
  };
}

/** Variables of a process that is started now. */
export const engineEnv = (env: Env): Record<string, string> => ({ ...steadyEnv(env), ...hostMemoryEnv() });

/**
 * How agents start the engine's zygote. A later controller must say the same, or its agents do not find the zygote that was left and pay
 * the import again; what changes (free memory) is told to each rank.
 */
export function engineZygote(env: Env): Result<ZygoteCommand> {
  const python = enginePython(env);
  if (!python.ok) return python;
  return ok({ command: python.value, args: ["-m", "tessera_engine", "zygote"], env: steadyEnv(env) });
}
