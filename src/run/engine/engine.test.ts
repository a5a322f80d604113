import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { unwrap } from "../../base/index.ts";
import { engineEnv, engineZygote, hostMemoryEnv } from "./engine.ts";

let venv = "";
beforeAll(() => {
  venv = mkdtempSync(join(tmpdir(), "tessera-venv-"));
  mkdirSync(join(venv, "bin"));
  writeFileSync(join(venv, "bin", "python"), "");
});
afterAll(() => rmSync(venv, { recursive: true, force: true }));

test("a zygote is asked for in the same words however much memory is free, so that the next controller finds it", () => {
  const env = { TESSERA_VENV: venv, OMP_NUM_THREADS: "3" };
  const changing = Object.keys(hostMemoryEnv());
  expect(changing.length).toBeGreaterThan(0);
  const zygote = unwrap(engineZygote(env));
  expect(Object.keys(zygote.env).filter((name) => changing.includes(name))).toEqual([]);
  // Processes that are started at once are told.
  expect(Object.keys(engineEnv(env))).toEqual(
    expect.arrayContaining([...Object.keys(zygote.env), ...changing]),
  );
});
