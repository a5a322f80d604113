import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { formatBytes, type Text, unwrap, TesseraError } from "../base/index.ts";
import { engineEnv, enginePython, ROOT, torchFault } from "../run/index.ts";
import type { Context } from "./context.ts";
import { machineMemory } from "../base/node.ts";

/** One thing that Tessera needs: `missing` stops it, `weak` may. */
export type Check = {
  readonly name: string;
  readonly state: "good" | "weak" | "missing";
  readonly found: string;
  /** The command that mends it. */
  readonly mend: Text | null;
};

const GIB = 1024 ** 3;
const good = (name: string, found: string): Check => ({ name, state: "good", found, mend: null });
const bad = (name: string, state: "weak" | "missing", found: string, en: string, zh = en): Check => ({
  name,
  state,
  found,
  mend: { en, zh },
});

/** Everything that is checked, in the order of a fix: each may need the ones before. */
export async function allChecks(context: Context): Promise<Check[]> {
  return [
    node(),
    packages(),
    cores(),
    memory(),
    sharedMemory(),
    disk(context.cwd),
    await ports(),
    ...engine(context),
  ];
}

function node(): Check {
  const major = Number(process.versions.node.split(".")[0]);
  return major >= 24 ? good("node", process.version) : bad("node", "missing", process.version, "npm ci");
}

/** Each package of package.json at exactly the version it asks for. */
function packages(): Check {
  const read = (path: string) =>
    JSON.parse(readFileSync(path, "utf8")) as { version?: string; dependencies?: Record<string, string> };
  const wanted = Object.entries(read(join(ROOT, "package.json")).dependencies ?? {});
  const wrong = wanted.filter(([name, version]) => {
    const path = join(ROOT, "node_modules", name, "package.json");
    return !existsSync(path) || read(path).version !== version;
  });
  return wrong.length === 0
    ? good("npm packages", `${wanted.length}`)
    : bad(
        "npm packages",
        "missing",
        wrong.map(([name, version]) => `${name}@${version}`).join(", "),
        `npm ci   (in ${ROOT})`,
        `npm ci（在 ${ROOT}）`,
      );
}

function cores(): Check {
  const count = cpus().length;
  return count >= 2
    ? good("cores", `${count}`)
    : bad("cores", "weak", `${count}`, "4 ranks on one core are slow", "單核心跑 4 個進程很慢");
}

/** Free memory, or what is left of the container's limit. */
function memory(): Check {
  const { free, total } = machineMemory();
  const found = `${formatBytes(free)} / ${formatBytes(total)}`;
  return free >= 3 * GIB
    ? good("memory", found)
    : bad(
        "memory",
        "weak",
        found,
        "free some memory: 4 small ranks take about 3 GiB",
        "請釋放記憶體：4 個小進程約需 3 GiB",
      );
}

function sharedMemory(): Check {
  const free = freeBytes("/dev/shm");
  if (free === null) return bad("shared memory", "weak", "/dev/shm ✗", "mount -t tmpfs tmpfs /dev/shm");
  return free >= 64 * 1024 ** 2
    ? good("shared memory", formatBytes(free))
    : bad(
        "shared memory",
        "weak",
        formatBytes(free),
        "docker run --shm-size=1g   /   mount -o remount,size=1G /dev/shm",
      );
}

function disk(folder: string): Check {
  const free = freeBytes(folder) ?? 0;
  const probe = mkdtempWritable(folder);
  if (!probe) return bad("disk", "missing", folder, `chmod u+w ${folder}`);
  return free >= 2 * GIB
    ? good("disk", formatBytes(free))
    : bad("disk", "weak", formatBytes(free), `df -h ${folder}`);
}

function mkdtempWritable(folder: string): boolean {
  try {
    const made = mkdtempSync(join(folder, ".tessera-doctor-"));
    writeFileSync(join(made, "x"), "x");
    rmSync(made, { recursive: true });
    return true;
  } catch {
    return false;
  }
}

/** Loopback: the controller and gloo listen there; and a unix socket in the temporary folder. */
async function ports(): Promise<Check> {
  const listens = (at: { host: string; port: number } | { path: string }) =>
    new Promise<string | null>((resolve) => {
      const server = createServer();
      server.once("error", (cause: NodeJS.ErrnoException) => resolve(cause.code ?? cause.message));
      server.listen(at, () => server.close(() => resolve(null)));
    });
  const tcp = await listens({ host: "127.0.0.1", port: 0 });
  if (tcp) return bad("ports", "missing", `127.0.0.1: ${tcp}`, "ip link set lo up");
  const unix = await listens({ path: join(tmpdir(), `tessera-doctor-${process.pid}.sock`) });
  return unix
    ? bad("ports", "missing", `${tmpdir()}: ${unix}`, "export TMPDIR=/tmp")
    : good("ports", "127.0.0.1, unix");
}

const SETUP = "tessera setup";

/** Python and what it has, asked of the engine itself in its own environment. */
function engine(context: Context): Check[] {
  let python: string;
  try {
    python = unwrap(enginePython(context.env));
  } catch (cause) {
    if (!(cause instanceof TesseraError)) throw cause;
    return [bad("python", "missing", String(cause.params["why"]), SETUP)];
  }
  const done = spawnSync(python, ["-m", "tessera_engine", "doctor"], {
    encoding: "utf8",
    env: { ...context.env, ...engineEnv(context.env) },
    timeout: 120_000,
  });
  const last = (done.stdout ?? "").trim().split("\n").at(-1) ?? "";
  const said = parse(last);
  if (!said) {
    const why =
      (done.stderr ?? "").trim().split("\n").at(-1) || (done.error?.message ?? `exit ${done.status}`);
    return [bad("python", "missing", why, SETUP)];
  }
  const word = (name: string) => (said[name] === undefined ? null : String(said[name]));
  const checks: Check[] = [good("python", word("python") ?? python)];
  for (const name of ["torch", "transformers", "safetensors"]) {
    const version = word(name);
    const old = name === "torch" && version !== null && torchFault(version) !== undefined;
    if (version && !old) checks.push(good(name, version));
    else
      checks.push(
        bad(
          name,
          "missing",
          version ?? "✗",
          `${python} -m pip install -r ${join(ROOT, "engine/requirements.txt")}`,
        ),
      );
  }
  if (said["gloo"] !== undefined) {
    checks.push(
      said["gloo"] === true
        ? good("gloo", "✓")
        : bad("gloo", "missing", word("why") ?? "✗", "export GLOO_SOCKET_IFNAME=lo"),
    );
  }
  const devices = Array.isArray(said["devices"]) ? (said["devices"] as { name?: string }[]) : [];
  checks.push(good("devices", devices.length > 0 ? devices.map((one) => one.name).join(", ") : "cpu"));
  return checks;
}

function parse(line: string): Record<string, unknown> | null {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return null;
  }
}

function freeBytes(path: string): number | null {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  } catch {
    return null;
  }
}
