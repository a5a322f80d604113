/**
 * Published models with the numbers they are checked against.
 *
 * A row names a config file of the reference data (`data/model_configs`, as collected in ai-dynamo/aiconfigurator), or is one
 * of the models known by name where that collection has none.
 */
import { readFileSync } from "node:fs";
import { unwrap } from "../../src/base/index.ts";
import { importModel, knownConfig, type Model, parseModel } from "../../src/model/index.ts";
import { sharedFile } from "./shared.ts";

type Source = string | object;

const known = (name: string): object => {
  const config = knownConfig(name);
  if (!config) throw new Error(`no model is known as ${name}`);
  return config;
};

export function load(source: Source): Model {
  if (typeof source !== "string") return unwrap(importModel(source));
  const file = sharedFile(`model_configs/${source}_config.json`);
  return unwrap(parseModel(readFileSync(file, "utf8"), { file }));
}

export type Row = {
  readonly name: string;
  readonly source: Source;
  /** Parameters: whole checkpoint when `mtp`, else the main model. In billions where that is how they are published. */
  readonly parameters?: { readonly count: number; readonly mtp?: boolean; readonly exact?: boolean };
  /** Billions touched by a token, input embedding not counted. */
  readonly active?: number;
  /** Published TFLOP/s over tokens/s, in GFLOP a token. */
  readonly flops?: { readonly sequence: number; readonly giga: number };
};

const B = 1e9;

export const ROWS: readonly Row[] = [
  {
    name: "DeepSeek-V4-Pro",
    source: "deepseek-ai--DeepSeek-V4-Pro",
    parameters: { count: 1_598_837_347_742, mtp: true, exact: true },
    active: 48.852,
    flops: { sequence: 4096, giga: 326.8 },
  },
  {
    name: "DeepSeek-V4-Flash",
    source: "deepseek-ai--DeepSeek-V4-Flash",
    parameters: { count: 290_942_289_362, mtp: true, exact: true },
    active: 13.27,
    flops: { sequence: 4096, giga: 90.9 },
  },
  {
    name: "GLM-5.2",
    source: "zai-org--GLM-5.2",
    parameters: { count: 753_329_940_480, mtp: true, exact: true },
    active: 40.3,
  },
  { name: "GLM-5", source: "zai-org--GLM-5", parameters: { count: 743.911 * B }, active: 40.83 },
  {
    name: "DeepSeek-V3",
    source: "deepseek-ai--DeepSeek-V3",
    parameters: { count: 682.636 * B, mtp: true },
    active: 36.63,
    flops: { sequence: 4096, giga: 260.0 },
  },
  {
    name: "DeepSeek-V3.2",
    source: "deepseek-ai--DeepSeek-V3.2",
    parameters: { count: 671.878 * B },
    active: 37.48,
  },
  {
    name: "Kimi-K2.5 (text)",
    source: "moonshotai--Kimi-K2.5",
    parameters: { count: 1026.408 * B },
    active: 31.69,
    flops: { sequence: 4096, giga: 204.6 },
  },
  {
    name: "GLM-4.5",
    source: known("GLM-4.5"),
    parameters: { count: 352.798 * B },
    active: 32.86,
  },
  {
    name: "GLM-4.5-Air",
    source: known("GLM-4.5-Air"),
    parameters: { count: 106.852 * B },
    active: 12.8,
  },
  {
    name: "Qwen3-235B-A22B",
    source: "Qwen--Qwen3-235B-A22B-FP8",
    parameters: { count: 235.094 * B },
    active: 21.57,
    flops: { sequence: 4096, giga: 148.1 },
  },
  {
    name: "Qwen3-30B-A3B",
    source: "Qwen--Qwen3-30B-A3B",
    parameters: { count: 30.532 * B },
    active: 3.04,
    flops: { sequence: 4096, giga: 23.1 },
  },
  { name: "Qwen3-8B", source: "Qwen--Qwen3-8B", parameters: { count: 8.191 * B }, active: 7.57 },
  {
    name: "Mixtral-8x7B",
    source: "mistralai--Mixtral-8x7B-v0.1",
    parameters: { count: 46.703 * B },
    active: 12.75,
  },
  {
    name: "Mixtral-8x22B",
    source: "mistralai--Mixtral-8x22B-v0.1",
    parameters: { count: 140.621 * B },
    active: 38.96,
  },
  {
    name: "gpt-oss-120b",
    source: known("gpt-oss-120b"),
    parameters: { count: 116.829 * B },
    active: 5.13,
    flops: { sequence: 4096, giga: 32.6 },
  },
  {
    name: "Llama-3.1-8B",
    source: "meta-llama--Meta-Llama-3.1-8B",
    parameters: { count: 8.03 * B },
    active: 7.5,
  },
  {
    name: "Llama-3.1-70B",
    source: known("Llama-3.1-70B"),
    parameters: { count: 70.554 * B },
    active: 69.5,
    flops: { sequence: 8192, giga: 447.4 },
  },
  {
    name: "Llama-3.1-405B",
    source: "meta-llama--Meta-Llama-3.1-405B",
    parameters: { count: 405.853 * B },
    active: 403.75,
    flops: { sequence: 8192, giga: 2525 },
  },
  { name: "LongCat-Flash", source: known("LongCat-Flash"), parameters: { count: 560.67 * B } },
];
