import { catalog, EXIT } from "../../base/index.ts";

export const fail = catalog({
  RECIPE_FILE: {
    exit: EXIT.usage,
    message: { en: "cannot read the recipe {file}: {why}", zh: "無法讀取配方 {file}：{why}" },
    next: {
      en: "give the path of a recipe, e.g. tessera run examples/operations-research/recipe.yaml",
      zh: "請給配方路徑，例如 tessera run examples/operations-research/recipe.yaml",
    },
  },
  RECIPE_YAML: {
    exit: EXIT.usage,
    message: { en: "this is not YAML: {why}", zh: "不是合法的 YAML：{why}" },
    next: { en: "mend the line above; indentation is by spaces", zh: "修正上述行；縮排須用空格" },
  },
  RECIPE_UNKNOWN_KEY: {
    exit: EXIT.usage,
    message: { en: 'unknown key "{key}" in {where}{hint}', zh: "{where} 中有未知的鍵「{key}」{hintZh}" },
    next: {
      en: "see docs/en/recipe.md for every key, or: tessera recipe-schema",
      zh: "所有鍵見 docs/zh/recipe.md，或執行：tessera recipe-schema",
    },
  },
  RECIPE_MISSING_KEY: {
    exit: EXIT.usage,
    message: { en: '{where} needs the key "{key}"', zh: "{where} 缺少鍵「{key}」" },
    next: { en: "add it; docs/en/recipe.md says what it means", zh: "請補上；意義見 docs/zh/recipe.md" },
  },
  RECIPE_TYPE: {
    exit: EXIT.usage,
    message: {
      en: "{where} must be {expected}, not {received}",
      zh: "{where} 應為 {expected}，而非 {received}",
    },
    next: { en: "see {where} in docs/en/recipe.md", zh: "見 docs/zh/recipe.md 的 {where}" },
  },
  RECIPE_VALUE: {
    exit: EXIT.usage,
    message: {
      en: "{where}: {received} is not allowed; {expected}{hint}",
      zh: "{where}：不接受 {received}；{expected}{hintZh}",
    },
    next: { en: "see {where} in docs/en/recipe.md", zh: "見 docs/zh/recipe.md 的 {where}" },
  },
  RECIPE_LAYOUT: {
    exit: EXIT.infeasible,
    message: { en: "this layout is impossible: {why}", zh: "此佈局不可行：{whyZh}" },
    next: {
      en: "correct {where}, or let the planner choose: layout: auto",
      zh: "修正 {where}，或交給規劃器：layout: auto",
    },
  },
  RECIPE_PATH: {
    exit: EXIT.usage,
    message: { en: "{where} names {path}, which is not there", zh: "{where} 指向的 {path} 不存在" },
    next: {
      en: "paths are relative to the recipe's folder: {folder}",
      zh: "路徑相對於配方所在資料夾：{folder}",
    },
  },
});
