import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { unwrap } from "../../src/base/index.ts";
import { generateAnswers, type Item, measure, orChecker, pythonEngine } from "../../src/evaluate/index.ts";
import { enginePython } from "../../src/run/index.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const python = unwrap(enginePython(process.env));
const engine = pythonEngine(python, ROOT);
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tessera-measure-"));
  const made = spawnSync(python, [join(ROOT, "tests/fixtures/tiny_model.py"), folder, "6", "24"], {
    env: { ...process.env, PYTHONPATH: join(ROOT, "engine"), OMP_NUM_THREADS: "1" },
    encoding: "utf8",
    timeout: 580_000,
  });
  if (made.status !== 0) throw new Error(made.stderr);
  cpSync(join(folder, "base"), join(folder, "same"), { recursive: true });
}, 600_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the real engine: answers do not depend on the number of processes, and a model equals itself", async () => {
  const prompts = ["a", "bcd", "maximise 3 x", "minimise y", "zz", "q"].map((prompt, i) => ({
    id: `p${i}`,
    prompt,
  }));
  const decoding = { maxNewTokens: 6, batch: 4, stop: "<|end|>", processes: 2, threads: 1 };
  const items: Item[] = prompts.map(({ id, prompt }) => ({
    id,
    prompt,
    problem: prompt,
    reference: "",
    family: "f",
    language: "en",
    difficulty: "1",
    status: "optimal",
    objective: 1,
  }));
  const { checker, close } = orChecker();
  try {
    const result = await measure(engine, checker, {
      items,
      base: join(folder, "base"),
      candidate: join(folder, "same"),
      retention: join(folder, "train.safetensors"),
      folder: join(folder, "eval"),
      decoding,
    });
    expect(result.base.identity).toBe(result.candidate.identity);
    expect(result.comparison.overall.difference.value).toBe(0);
    expect(result.comparison.verdicts.base.correct).toBe(0);
    expect(result.retention).toMatchObject({ rows: 6, ratio: { value: 1, low: 1, high: 1 } });
    expect(result.retention?.basePerplexity).toBeGreaterThan(10);
    expect(result.gate.verdict).toBe("inconclusive");
    const ask = (name: string, processes: number) =>
      generateAnswers(engine, {
        ...decoding,
        processes,
        model: join(folder, "base"),
        prompts,
        folder: join(folder, name),
      });
    const alone = await ask("alone", 1);
    expect(alone.every((answer) => answer.tokens >= 1 && answer.tokens <= 6)).toBe(true);
    // Answered by two processes above, and found again here.
    expect(await ask(join("eval", "answers"), 2)).toEqual(alone);
  } finally {
    await close();
  }
}, 600_000);
