import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { catalog, EXIT, type TesseraError, type Text, unwrap } from "../../base/index.ts";
import {
  type Cluster,
  type DeviceProfile,
  DEVICES,
  parseCluster,
  parseProfile,
  namedCluster,
  profileMachine,
  withProfile,
} from "../../cluster/index.ts";
import { layerLoads, readLoads } from "../../experts/index.ts";
import { type RoutingLoad, routingLoads, type Traits, traitsSchema } from "../../layout/index.ts";
import { importModel, KNOWN_MODELS, knownConfig, type Model, moeOf, parseModel } from "../../model/index.ts";
import { type Located, located, parseLocated } from "./locate.ts";

const fail = catalog({
  PLAN_NO_FILE: {
    exit: EXIT.usage,
    message: { en: "there is no file {path}", zh: "找不到檔案 {path}" },
    next: { en: "{hint}", zh: "{hintZh}" },
  },
  PLAN_CLUSTER: {
    exit: EXIT.usage,
    message: {
      en: "'{text}' is neither a cluster file nor PRESET:DEVICES",
      zh: "「{text}」既不是叢集檔案，也不是「預設:加速器數」",
    },
    next: {
      en: "for example --cluster h100:64; presets: {known}",
      zh: "例如 --cluster h100:64；預設：{known}",
    },
  },
  PLAN_LOADS: {
    exit: EXIT.usage,
    message: {
      en: "the loads are of {got} experts, the model has {want}",
      zh: "負載屬於 {got} 個專家，而模型有 {want} 個",
    },
    next: {
      en: "give loads that were recorded with this model",
      zh: "請給以此模型記錄的負載",
    },
  },
  PLAN_YAML: {
    exit: EXIT.usage,
    message: { en: "the file cannot be read: {detail}", zh: "檔案無法讀取：{detail}" },
    next: { en: "correct the line; indentation is by spaces", zh: "請修正該行；縮排須用空格" },
  },
  PLAN_MISSING: {
    exit: EXIT.usage,
    message: { en: "{option} is missing", zh: "缺少 {option}" },
    next: {
      en: "for example tessera plan --model deepseek-v4-pro --cluster 910c:512, or tessera plan recipe.yaml",
      zh: "例如 tessera plan --model deepseek-v4-pro --cluster 910c:512，或 tessera plan recipe.yaml",
    },
  },
  PLAN_RATIO: {
    exit: EXIT.usage,
    message: {
      en: "{option} takes a number from {low} to {high}, not '{text}'",
      zh: "{option} 須為 {low} 至 {high} 的數，而非「{text}」",
    },
    next: { en: "tessera plan --help", zh: "tessera plan --help" },
  },
  PLAN_NAME: {
    exit: EXIT.usage,
    message: { en: "{option}: '{text}' is unknown", zh: "{option}：不認識「{text}」" },
    next: { en: "known: {known}", zh: "可用：{known}" },
  },
  PLAN_TRAIT: {
    exit: EXIT.usage,
    message: {
      en: "--traits: '{text}' is not understood",
      zh: "--traits：看不懂「{text}」",
    },
    next: {
      en: "for example --traits deduplicate,overlapExpert=0.8; known: {known} (meanings: docs/en/planner.md, section Estimate)",
      zh: "例如 --traits deduplicate,overlapExpert=0.8；可用：{known}（含義見 docs/zh/planner.md 的「估算」一節）",
    },
  },
  PLAN_NUMBER: {
    exit: EXIT.usage,
    message: {
      en: "{option} takes {what}, not '{text}'",
      zh: "{option} 須為{what}，而非「{text}」",
    },
    next: { en: "tessera plan --help", zh: "tessera plan --help" },
  },
});

/** The text of a file; `what` says what else may be given where there is none. */
export function readText(path: string, what: "file" | "model" = "file"): string {
  if (existsSync(path) && statSync(path).isFile()) return readFileSync(path, "utf8");
  const known = Object.keys(KNOWN_MODELS).join(", ");
  throw fail(
    "PLAN_NO_FILE",
    what === "model"
      ? {
          path,
          hint: `give a config.json, a folder that holds one, or a name: ${known}`,
          hintZh: `請給 config.json、含有它的資料夾，或名稱：${known}`,
        }
      : { path, hint: `check the path: ls ${dirname(path)}`, hintZh: `請檢查路徑：ls ${dirname(path)}` },
  );
}

/** A config.json, given as such or as the folder that holds it. */
export function modelFile(cwd: string, given: string): string {
  const path = resolve(cwd, given);
  return existsSync(path) && statSync(path).isDirectory() ? join(path, "config.json") : path;
}

/** Model from a config.json, the folder that holds it, or the name of a well-known one. */
export function readModel(cwd: string, given: string): Model {
  const known = existsSync(resolve(cwd, given)) ? undefined : knownConfig(given);
  if (known) return unwrap(importModel(known, { name: given }));
  const file = modelFile(cwd, given);
  const name =
    basename(file) === "config.json"
      ? basename(resolve(file, ".."))
      : basename(file, ".json").replace(/_config$/, "");
  return unwrap(parseModel(readText(file, "model"), { file, name }));
}

/** Recorded loads as what they mean for each degree of expert parallelism. */
export function readRouting(cwd: string, given: string, model: Model): RoutingLoad[] {
  const file = resolve(cwd, given);
  const steps = unwrap(readLoads(readText(file), file));
  const want = Math.max(0, ...model.layers.map(({ body }) => moeOf(body)?.experts ?? 0));
  const wrong = steps.find(({ experts }) => experts !== want);
  if (wrong) throw fail("PLAN_LOADS", { got: wrong.experts, want }, { file });
  return routingLoads(
    steps.map((loads) => Array.from({ length: loads.layers }, (_, layer) => layerLoads(loads, layer))),
  );
}

/** A YAML or JSON document; a syntax error names its line. */
function readYaml(file: string): Located {
  const source = parseLocated(readText(file));
  if (!source.wrong) return source;
  const { detail, line, column } = source.wrong;
  throw fail("PLAN_YAML", { detail }, { file, line, column });
}

/** What `tessera calibrate` wrote. */
export function readProfile(cwd: string, given: string): DeviceProfile {
  const file = resolve(cwd, given);
  return unwrap(parseProfile(readYaml(file).data, file));
}

/** The named cluster as the profile measured its devices, or the machine that was measured where none is named. */
export function profiledCluster(cwd: string, named: string | undefined, given: string | undefined): Cluster {
  if (given === undefined) return readCluster(cwd, named as string);
  const profile = readProfile(cwd, given);
  return unwrap(
    withProfile(named === undefined ? profileMachine(profile) : readCluster(cwd, named), profile, given),
  );
}

/** Cluster from a YAML file, or `preset:devices` of whole nodes, several joined by `+`; errors of a file name its line. */
export function readCluster(cwd: string, given: string): Cluster {
  const file = resolve(cwd, given);
  if (!existsSync(file)) {
    if (given.includes(":")) return unwrap(namedCluster(given));
    const known = DEVICES.map((device) => device.id).join(", ");
    throw fail("PLAN_CLUSTER", { text: given, known });
  }
  const source = readYaml(file);
  const result = parseCluster(source.data, file, (path) => readProfile(dirname(file), path));
  if (result.ok) return result.value;
  throw located(result.error, source, file);
}

/** More than any cluster, batch or sequence holds; sums of bytes stay exact below it. */
const MOST = 2 ** 31;
const ONE: Text = { en: "a whole number from 1 to 2147483648", zh: "1 至 2147483648 的整數" };
const LIST: Text = { en: "whole numbers from 1 to 2147483648", zh: "1 至 2147483648 的整數" };

/** `--tp 1,2,4` */
export function numbers(option: string, text: string | undefined): number[] | undefined {
  if (text === undefined) return undefined;
  return text.split(",").map((part) => {
    const value = Number(part);
    if (!Number.isInteger(value) || value < 1 || value > MOST)
      throw fail("PLAN_NUMBER", { option, text, what: LIST });
    return value;
  });
}

export function number(option: string, text: string): number {
  const [value, ...more] = numbers(option, text) as number[];
  if (value === undefined || more.length > 0) throw fail("PLAN_NUMBER", { option, text, what: ONE });
  return value;
}

/** A number in a range, for shares and ratios. */
export function ratio(option: string, text: string, low: number, high: number): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= low && value <= high)) {
    throw fail("PLAN_RATIO", { option, text, low, high });
  }
  return value;
}

/** `--schedules 1f1b,zbv`: names out of a list. */
export function names<T extends string>(option: string, text: string, known: readonly T[]): T[] {
  return text.split(",").map((part) => {
    const found = known.find((name) => name === part.trim());
    if (!found) throw fail("PLAN_NAME", { option, text: part, known: known.join(", ") });
    return found;
  });
}

/** `--traits deduplicate,overlapExpert=0.8`: how the stack runs, in the words of a case's `traits`. */
export function traitsOf(text: string): Partial<Traits> {
  const known = Object.keys(traitsSchema.shape).join(", ");
  return Object.assign(
    {},
    ...text.split(",").map((part) => {
      const [name = "", value = "true"] = part.trim().split("=");
      const number = Number(value);
      const plain =
        value === "true" || value === "false" ? value === "true" : Number.isNaN(number) ? value : number;
      const read = traitsSchema.safeParse({ [name]: plain });
      if (!read.success) throw fail("PLAN_TRAIT", { text: part.trim(), known });
      return read.data;
    }),
  );
}

export const missing = (option: string): TesseraError => fail("PLAN_MISSING", { option });
