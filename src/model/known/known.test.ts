import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { unwrap } from "../../base/index.ts";
import { countParameters, flopsPerToken, importModel, type Model, parseModel } from "../index.ts";
import { KNOWN_MODELS, knownConfig } from "./index.ts";

const ROOT = resolve(import.meta.dirname, "../../..");
const CONFIGS = [process.env["TESSERA_SHARED"], join(ROOT, "../shared"), join(ROOT, "../../shared")]
  .filter((path) => path !== undefined)
  .map((path) => join(path, "data/model_configs"))
  .find((path) => existsSync(path));

/** Models whose published config.json is among the reference data. */
const FILES: Readonly<Record<string, string>> = {
  "DeepSeek-V4-Pro": "deepseek-ai--DeepSeek-V4-Pro",
  "DeepSeek-V4-Flash": "deepseek-ai--DeepSeek-V4-Flash",
  "DeepSeek-V3.2": "deepseek-ai--DeepSeek-V3.2",
  "DeepSeek-V3": "deepseek-ai--DeepSeek-V3",
  "Kimi-K2": "moonshotai--Kimi-K2.5",
  "GLM-5.2": "zai-org--GLM-5.2",
  "GLM-5": "zai-org--GLM-5",
  "Qwen3-Coder-480B-A35B": "Qwen--Qwen3-Coder-480B-A35B-Instruct",
  "Qwen3-235B-A22B": "Qwen--Qwen3-235B-A22B-FP8",
  "Qwen3-30B-A3B": "Qwen--Qwen3-30B-A3B",
  "Qwen3-32B": "Qwen--Qwen3-32B-FP8",
  "Qwen3-8B": "Qwen--Qwen3-8B",
  "MiniMax-M2": "MiniMaxAI--MiniMax-M2.5",
  "gpt-oss-20b": "openai--gpt-oss-20b",
  "Mixtral-8x22B": "mistralai--Mixtral-8x22B-v0.1",
  "Mixtral-8x7B": "mistralai--Mixtral-8x7B-v0.1",
  "Llama-3.1-405B": "meta-llama--Meta-Llama-3.1-405B",
  "Llama-3.1-8B": "meta-llama--Meta-Llama-3.1-8B",
};

/** Billions of parameters of the main model as their authors or transformers' classes count the rest. */
const PUBLISHED: Readonly<Record<string, number>> = {
  "GLM-4.5": 352.798,
  "GLM-4.5-Air": 106.852,
  "gpt-oss-120b": 116.829,
  "Llama-3.1-70B": 70.554,
  "LongCat-Flash": 560.67,
};

test("each known model is checked below", () => {
  expect(Object.keys(KNOWN_MODELS).toSorted()).toEqual(
    [...Object.keys(FILES), ...Object.keys(PUBLISHED)].toSorted(),
  );
});

test.skipIf(!CONFIGS).each(Object.entries(FILES))("%s is its config.json", (name, file) => {
  const path = join(CONFIGS as string, `${file}_config.json`);
  const published = unwrap(parseModel(readFileSync(path, "utf8"), { file: path }));
  const mine = unwrap(importModel(knownConfig(name)));
  // All but how the checkpoint stores its weights, and what a wrapper for pictures adds.
  const built = ({ storage: _s, name: _n, modelType: _t, ignored: _i, maxSequence: _m, ...rest }: Model) =>
    rest;
  expect(built(mine)).toEqual(built(published));
  // The file is of Kimi-K2.5, which reads longer texts.
  if (name !== "Kimi-K2") expect(mine.maxSequence).toBe(published.maxSequence);
  expect(countParameters(mine)).toEqual(countParameters(published));
  for (const length of [4096, 32768]) {
    expect(flopsPerToken(mine, length)).toEqual(flopsPerToken(published, length));
  }
});

test.each(Object.entries(PUBLISHED))("%s has its published parameters", (name, billions) => {
  const { main } = countParameters(unwrap(importModel(knownConfig(name.toUpperCase()))));
  expect(Math.abs(main / 1e9 / billions - 1)).toBeLessThan(1e-3);
});
