import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { formatCount, type Text } from "../../../base/index.ts";
import { lockedFolder, paths } from "../../../run/index.ts";
import { same } from "../html.ts";
import type { Fact } from "../types.ts";
import { at, type Json, numberAt, readJson, textAt } from "./json.ts";

/** What was asked, from the locked recipe: a few facts for a person, and the recipe itself. */
export function readAsked(
  runFolder: string,
  plan: Json | undefined,
): { facts: Fact[]; recipe: string; stage: string; name: string | undefined } {
  const path = paths(runFolder).recipe;
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  const recipe: unknown = text === "" ? undefined : parse(text);
  const stage = (at(recipe, "stages") as unknown[] | undefined)?.[0];
  const base = textAt(recipe, "model", "base");
  const config = base === undefined ? undefined : readJson(join(lockedFolder(path), base, "config.json"));
  const facts: Fact[] = [];
  const fact = (en: string, zh: string, value: Text | string | undefined) => {
    if (value !== undefined)
      facts.push({ label: { en, zh }, value: typeof value === "string" ? same(value) : value });
  };
  const architecture = (at(config, "architectures") as string[] | undefined)?.[0];
  fact(
    "Base model",
    "基礎模型",
    base === undefined ? undefined : `${base}${architecture ? ` (${architecture})` : ""}`,
  );
  const parameters = numberAt(plan, "model", "parameters");
  const frozen = at(recipe, "model", "freeze");
  const all = !Array.isArray(frozen) || frozen.length === 0;
  fact(
    "Parameters",
    "參數",
    parameters === undefined
      ? undefined
      : {
          en: `${formatCount(parameters)}, ${all ? "all trained" : `frozen: ${(frozen as string[]).join(", ")}`}`,
          zh: `${formatCount(parameters)}，${all ? "全部訓練" : `凍結：${(frozen as string[]).join("、")}`}`,
        },
  );
  const kind = textAt(stage, "kind") ?? "";
  const steps = numberAt(stage, "steps");
  fact(
    "Stage",
    "階段",
    steps === undefined ? undefined : { en: `${kind}, ${steps} steps`, zh: `${kind}，${steps} 步` },
  );
  const sequences = numberAt(recipe, "batch", "globalBatch");
  const length = numberAt(recipe, "batch", "sequenceLength");
  fact(
    "Batch",
    "批次",
    sequences === undefined || length === undefined
      ? undefined
      : { en: `${sequences} sequences of ${length} tokens`, zh: `${sequences} 條 ${length} 詞元的序列` },
  );
  const rate = numberAt(recipe, "optimizer", "learningRate");
  fact(
    "Optimizer",
    "優化器",
    rate === undefined ? undefined : `AdamW, ${rate}, ${textAt(recipe, "optimizer", "decay") ?? ""}`,
  );
  fact("Precision", "精度", textAt(recipe, "precision", "param"));
  const seed = numberAt(recipe, "seed");
  const exact = at(recipe, "deterministic") === true;
  fact(
    "Seed",
    "種子",
    seed === undefined
      ? undefined
      : { en: `${seed}${exact ? ", deterministic" : ""}`, zh: `${seed}${exact ? "，確定性" : ""}` },
  );
  return { facts, recipe: text, stage: kind, name: textAt(recipe, "name") };
}

/** The recipe file that the run was locked from, as its first line says. */
export function recipeSource(recipe: string): string | undefined {
  return /^# Locked from (.+)$/m.exec(recipe)?.[1];
}
