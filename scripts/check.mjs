// Every quality gate but the tests: types, lint, format, dead code, and the Python ones. All run, then the failures are named.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { python, root } from "./bootstrap.mjs";

const bin = (name) => join(root, "node_modules", ".bin", name);
const gates = [
  ["types", bin("tsc"), ["--noEmit"]],
  ["lint", bin("oxlint"), ["--deny-warnings"]],
  ["format", bin("biome"), ["format", "."]],
  ["dead code", bin("knip"), []],
  ["import direction", bin("vitest"), ["run", "tests/direction.test.ts"]],
  ["python lint", python, ["-m", "ruff", "check", "engine"]],
  ["python format", python, ["-m", "ruff", "format", "--check", "engine"]],
  ["python types", python, ["-m", "mypy", "--config-file", "engine/pyproject.toml", "engine/tessera_engine"]],
];
const failed = gates.filter(([name, command, args]) => {
  console.log(`── ${name}`);
  return spawnSync(command, args, { cwd: root, stdio: "inherit" }).status !== 0;
});
console.log(
  failed.length === 0
    ? "check: all gates passed"
    : `check: failed: ${failed.map(([name]) => name).join(", ")}`,
);
process.exitCode = failed.length === 0 ? 0 : 1;
