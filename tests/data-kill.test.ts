import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, expect, test } from "vitest";
import { Random } from "../src/base/index.ts";
import { verifyStep } from "../src/data/index.ts";

const tessera = resolve(import.meta.dirname, "../bin/tessera.mjs");
const root = mkdtempSync(join(tmpdir(), "tessera-kill-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Runs `tessera data pack`; with `die`, killed with -9 at a write after it said that word. */
function pack(
  folder: string,
  die?: { word: string; write: number },
): Promise<{ code: number | null; out: string }> {
  const child = spawn(
    process.execPath,
    [
      ...(die ? ["--import", resolve(import.meta.dirname, "fixtures/die-at.mjs")] : []),
      tessera,
      "data",
      "pack",
      "--out",
      folder,
      "--drafts",
      "400",
      "--train",
      "150",
      "--heldout",
      "20",
      "--json",
    ],
    {
      stdio: ["ignore", "pipe", "ignore"],
      env: { ...process.env, ...(die ? { DIE_WORD: die.word, DIE_WRITE: String(die.write) } : {}) },
    },
  );
  let out = "";
  child.stdout.on("data", (piece: Buffer) => {
    out += piece.toString();
  });
  return new Promise((done) => child.on("close", (code) => done({ code, out })));
}

const content = (folder: string) =>
  readdirSync(folder)
    .filter((name) => !name.startsWith(".") && name !== "data.json")
    .map((name) => `${name} ${verifyStep(join(folder, name)).content}`);

test("killed with -9 after any step and run again, the data are the same as undisturbed", async () => {
  const calm = join(root, "calm");
  expect((await pack(calm)).code).toBe(0);
  const expected = content(calm);
  expect(expected.length).toBe(8);
  const random = new Random(1);
  const folder = join(root, "rough");
  for (const word of ["produce", "gate", "dedup", random.pick(["classify", "tokenizer", "select"])]) {
    const { code } = await pack(folder, { word, write: random.int(1, 6) });
    expect(code).toBeNull();
    // Whatever can be seen is whole.
    for (const name of readdirSync(folder).filter((each) => !each.startsWith(".")))
      verifyStep(join(folder, name));
  }
  const { code, out } = await pack(folder);
  expect(code).toBe(0);
  expect(content(folder)).toEqual(expected);
  expect(JSON.parse(out)).toMatchObject({ schema: "tessera.data.funnel/v1" });
  expect(readFileSync(join(folder, "data.json"), "utf8")).toBe(readFileSync(join(calm, "data.json"), "utf8"));
});

test.each([
  [["pack", "--drafts", "many"], "DATA_RECIPE"],
  [["pack", "--recipe", "nowhere.yaml"], "DATA_RECIPE"],
  [["pack", "--drafts", "20", "--tokenizer", "nowhere"], "DATA_TOKENIZER"],
  [["show"], "DATA_FOLDER"],
])("data %j ends with %s, what to do next, and exit code 2", (words, code) => {
  const done = spawnSync(
    process.execPath,
    [tessera, "data", ...words, "--out", join(root, "bad"), "--json"],
    { encoding: "utf8", timeout: 170_000 },
  );
  expect(done.status).toBe(2);
  expect(JSON.parse(done.stdout)).toMatchObject({ schema: "tessera.error/v1", code });
  expect(done.stderr).toContain("next:");
});
