import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Engine } from "./engine.ts";
import { type GenerateRequest, generateAnswers, share } from "./generate.ts";
import { measure } from "./measure.ts";
import type { Checker, Item } from "./types.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tessera-generate-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/**
 * A process that speaks the engine's tool protocol, for faults that the real engine does not show on request. It answers "<id> by
 * <model>", counts its starts in `starts`, and, told so by a file `faults/<model>`, dies in the middle of its third line.
 */
const TOOL = `
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
const [tool, path] = process.argv.slice(2);
const spec = JSON.parse(readFileSync(path, "utf8"));
const name = spec.model.split("/").at(-1);
const root = spec.model + "/../";
appendFileSync(root + "starts", tool + " " + name + "\\n");
const say = (message) => process.stdout.write(JSON.stringify(message) + "\\n");
if (tool === "perplexity") {
  const worse = name === "bad" ? 1.5 : 1;
  const rows = Array.from({ length: 40 }, (_, i) => ({ row: i, nll: (20 + (i % 7)) * worse, tokens: 10 }));
  writeFileSync(spec.out, rows.map((row) => JSON.stringify(row) + "\\n").join(""));
} else {
  const prompts = readFileSync(spec.prompts, "utf8").trim().split("\\n").map((line) => JSON.parse(line));
  let done = 0;
  for (const { id } of prompts) {
    const line = JSON.stringify({ id, text: id + " by " + name, tokens: 3, finished: true }) + "\\n";
    if (done === 2 && existsSync(root + "fault-" + name)) {
      rmSync(root + "fault-" + name);
      appendFileSync(spec.out, line.slice(0, 9));
      process.stderr.write("out of memory\\n");
      process.exit(9);
    }
    appendFileSync(spec.out, line);
    say({ kind: "progress", done: ++done, total: prompts.length });
  }
}
say({ kind: "result" });
`;

function setUp(...models: string[]): Engine {
  const tool = join(folder, "tool.mjs");
  writeFileSync(tool, TOOL);
  for (const model of models) {
    mkdirSync(join(folder, model));
    writeFileSync(join(folder, model, "config.json"), JSON.stringify({ model }));
  }
  return { command: process.execPath, args: [tool], path: folder };
}

const request = (model: string, extra: Partial<GenerateRequest> = {}): GenerateRequest => ({
  model: join(folder, model),
  prompts: Array.from({ length: 11 }, (_, i) => ({ id: `q${i}`, prompt: "x".repeat(i) })),
  folder: join(folder, "answers"),
  maxNewTokens: 8,
  batch: 4,
  stop: "<|end|>",
  processes: 2,
  threads: 1,
  ...extra,
});
const starts = () =>
  existsSync(join(folder, "starts")) ? readFileSync(join(folder, "starts"), "utf8").trim().split("\n") : [];

describe("answers of a model", () => {
  test("come in the order of the prompts, whatever the number of processes, and are asked once only", async () => {
    const engine = setUp("base");
    const seen: number[] = [];
    const answers = await generateAnswers(engine, request("base", { onProgress: (done) => seen.push(done) }));
    expect(answers.map((answer) => answer.text)).toEqual(
      Array.from({ length: 11 }, (_, i) => `q${i} by base`),
    );
    expect(seen.at(-1)).toBe(11);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(starts()).toHaveLength(2);
    expect(await generateAnswers(engine, request("base", { processes: 5 }))).toEqual(answers);
    expect(starts()).toHaveLength(2);
  });

  test("a process that dies costs only what it had not finished", async () => {
    const engine = setUp("base");
    writeFileSync(join(folder, "fault-base"), "");
    await expect(generateAnswers(engine, request("base", { processes: 1 }))).rejects.toMatchObject({
      code: "EVAL_ENGINE",
      params: { exit: 9, tail: "out of memory" },
    });
    const answers = await generateAnswers(engine, request("base", { processes: 1 }));
    expect(answers).toHaveLength(11);
    const [made] = readdirSync(join(folder, "answers"));
    const asked = readFileSync(join(folder, "answers", made ?? "", "part-1.prompts"), "utf8")
      .trim()
      .split("\n");
    expect(asked).toHaveLength(9);
  });

  test("another model, other prompts or another limit are another question", async () => {
    const engine = setUp("base", "other");
    await generateAnswers(engine, request("base", { processes: 1 }));
    await generateAnswers(engine, request("other", { processes: 1 }));
    await generateAnswers(engine, request("base", { processes: 1, maxNewTokens: 9 }));
    expect(starts()).toHaveLength(3);
    expect(readdirSync(join(folder, "answers"))).toHaveLength(3);
  });

  test("an interpreter or a model that is not there is named", async () => {
    const engine = setUp("base");
    await expect(
      generateAnswers({ ...engine, command: join(folder, "no-python") }, request("base")),
    ).rejects.toMatchObject({ code: "EVAL_START" });
    await expect(generateAnswers(engine, request("nowhere"))).rejects.toMatchObject({ code: "EVAL_FILE" });
  });

  test("an abort stops the processes", async () => {
    const engine = setUp("base");
    await expect(
      generateAnswers(engine, request("base", { signal: AbortSignal.abort(new Error("stop")) })),
    ).rejects.toThrow("stop");
  });

  test("prompts are shared evenly and none is lost", () => {
    const { prompts } = request("base");
    const parts = share(prompts, 3);
    expect(parts.map((part) => part.length)).toEqual([4, 4, 3]);
    expect(new Set(parts.flat())).toEqual(new Set(prompts));
    expect(share(prompts.slice(0, 2), 9)).toHaveLength(2);
    expect(share([], 3)).toEqual([]);
  });
});

describe("the whole measurement", () => {
  const items: Item[] = Array.from({ length: 120 }, (_, i) => ({
    id: `q${i}`,
    prompt: `p${i}`,
    problem: "",
    reference: "",
    family: i % 2 ? "diet" : "knapsack",
    language: i % 3 ? "en" : "zh",
    difficulty: "1",
    status: "optimal",
    objective: i,
  }));
  const checker: Checker = (item, text) => ({
    verdict: text.endsWith("base") ? (item.objective === 7 ? "correct" : "unparsable") : "correct",
    reason: "",
    objective: null,
  });
  const run = (engine: Engine, candidate: string, retention: string | null) =>
    measure(engine, checker, {
      items,
      base: join(folder, "base"),
      candidate: join(folder, candidate),
      retention,
      folder: join(folder, "eval"),
      decoding: { maxNewTokens: 8, batch: 8, stop: "", processes: 2, threads: 1 },
    });

  test("ends in a gate and leaves files that say the same", async () => {
    const engine = setUp("base", "good", "bad");
    writeFileSync(join(folder, "general.safetensors"), "text");
    const text = join(folder, "general.safetensors");
    const good = await run(engine, "good", text);
    expect(good.gate).toMatchObject({ verdict: "passed" });
    expect(good.comparison.overall).toMatchObject({ n: 120, gained: 119, lost: 0 });
    expect(JSON.parse(readFileSync(join(folder, "eval", "evaluation.json"), "utf8"))).toEqual(good);
    expect((await run(engine, "bad", text)).gate.verdict).toBe("refused");
    expect((await run(engine, "good", null)).gate.verdict).toBe("inconclusive");
    await expect(run(engine, "good", join(folder, "gone"))).rejects.toMatchObject({ code: "EVAL_FILE" });
    expect(starts().filter((line) => line === "generate base")).toHaveLength(2);
    expect(starts().filter((line) => line === "perplexity base")).toHaveLength(1);
  });
});
