import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Text } from "../../../base/index.ts";
import type { Manifest } from "../../../data/index.ts";
import { funnelOf } from "../../../domains/or/index.ts";
import type { FunnelStep, LineageNode } from "../types.ts";
import { at, readJson } from "./json.ts";

const STEPS: Readonly<Record<string, Text>> = {
  produce: { en: "Produce", zh: "產生" },
  gate: { en: "Solve and gate", zh: "求解與驗收" },
  dedup: { en: "Duplicates", zh: "去重" },
  decontaminate: { en: "Held-out overlap", zh: "去污染" },
  classify: { en: "Classify", zh: "分類" },
  tokenizer: { en: "Tokenizer", zh: "分詞器" },
  select: { en: "Quota mix", zh: "配額選取" },
  pack: { en: "Pack", zh: "裝箱" },
};
const REASONS: Readonly<Record<string, Text>> = {
  unparsable: { en: "does not parse", zh: "無法解析" },
  "not-canonical": { en: "not canonical", zh: "非標準寫法" },
  "too-large": { en: "too large", zh: "過大" },
  infeasible: { en: "infeasible", zh: "不可行" },
  unbounded: { en: "unbounded", zh: "無界" },
  limit: { en: "time limit", zh: "逾時" },
  "solver-error": { en: "solver error", zh: "求解器錯誤" },
  "solution-disagrees": { en: "solution disagrees", zh: "解不一致" },
  "zero-objective": { en: "optimum is zero", zh: "最優值為零" },
  "all-zero": { en: "all variables zero", zh: "變數全為零" },
  "nothing-binds": { en: "nothing binds", zh: "無約束生效" },
  "number-missing": { en: "a number is missing in the words", zh: "文字缺少數字" },
  "number-unused": { en: "a number is not used", zh: "有數字未使用" },
  "exact-duplicate": { en: "exact duplicate", zh: "完全重複" },
  "near-duplicate": { en: "near duplicate", zh: "近似重複" },
  "same-parameters": { en: "same numbers as a held-out problem", zh: "與測試題參數相同" },
  "shared-text": { en: "words shared with a held-out problem", zh: "與測試題文字重疊" },
  "language-disagrees": { en: "language disagrees", zh: "語言不符" },
  "family-disagrees": { en: "family disagrees", zh: "問題族不符" },
  "over-quota": { en: "over quota", zh: "超出配額" },
  "too-long": { en: "longer than a sequence", zh: "超過序列長度" },
};
const PROBLEMS: Text = { en: "problems", zh: "題" };

/** Manifests of a data folder by its `data.json`, without checking the files again: the run has done that. */
export function readManifests(folder: string): Manifest[] {
  const listed = at(readJson(join(folder, "data.json")), "steps");
  const names = Array.isArray(listed)
    ? listed.filter((name): name is string => typeof name === "string")
    : existsSync(folder)
      ? readdirSync(folder).filter((name) => existsSync(join(folder, name, "manifest.json")))
      : [];
  return names.flatMap((name) => {
    const manifest = readJson(join(folder, name, "manifest.json"));
    return manifest?.["schema"] === "tessera.step/v1" ? [manifest as unknown as Manifest] : [];
  });
}

export const readFunnel = (manifests: readonly Manifest[]): FunnelStep[] =>
  funnelOf(manifests).map((row) => ({
    name: nameOf(row.step),
    unit: PROBLEMS,
    in: row.in,
    out: row.out,
    dropped: Object.entries(row.reasons).map(([reason, count]) => ({
      reason: REASONS[reason] ?? { en: reason, zh: reason },
      count,
    })),
  }));

export function readLineage(manifests: readonly Manifest[]): LineageNode[] {
  return manifests.map((manifest) => ({
    name: nameOf(manifest.step),
    hash: manifest.content,
    from: Object.values(manifest.inputs),
    detail: `${manifest.step}-${manifest.id} · code ${manifest.code}`,
  }));
}

const nameOf = (step: string): Text => STEPS[step] ?? { en: step, zh: step };
