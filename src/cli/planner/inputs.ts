import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { LineCounter, parseDocument } from "yaml";
import { catalog, EXIT, TesseraError, unwrap } from "../../base/index.ts";
import {
  type Cluster,
  type DeviceProfile,
  DEVICES,
  parseCluster,
  parseProfile,
  presetCluster,
  profileMachine,
  withProfile,
} from "../../cluster/index.ts";
import { type Model, parseModel } from "../../model/index.ts";

const fail = catalog({
  PLAN_NO_FILE: {
    exit: EXIT.usage,
    message: { en: "there is no file {path}", zh: "找不到檔案 {path}" },
    next: { en: "give a config.json, or a folder that holds one", zh: "請給 config.json，或含有它的資料夾" },
  },
  PLAN_CLUSTER: {
    exit: EXIT.usage,
    message: {
      en: "'{text}' is neither a cluster file nor PRESET:DEVICES with whole nodes",
      zh: "「{text}」既不是叢集檔案，也不是「預設:加速器數」（須為整節點）",
    },
    next: {
      en: "for example --cluster h100:64; presets: {known}",
      zh: "例如 --cluster h100:64；預設：{known}",
    },
  },
  PLAN_YAML: {
    exit: EXIT.usage,
    message: { en: "the file cannot be read: {detail}", zh: "檔案無法讀取：{detail}" },
  },
  PLAN_MISSING: {
    exit: EXIT.usage,
    message: { en: "{option} is missing", zh: "缺少 {option}" },
    next: { en: "tessera plan --help", zh: "tessera plan --help" },
  },
  PLAN_NUMBER: {
    exit: EXIT.usage,
    message: {
      en: "{option} takes whole numbers from 1, not '{text}'",
      zh: "{option} 須為不小於 1 的整數，而非「{text}」",
    },
  },
});

export function readText(path: string): string {
  if (!existsSync(path)) throw fail("PLAN_NO_FILE", { path });
  return readFileSync(path, "utf8");
}

/** A config.json, given as such or as the folder that holds it. */
export function modelFile(cwd: string, given: string): string {
  const path = resolve(cwd, given);
  return existsSync(path) && statSync(path).isDirectory() ? join(path, "config.json") : path;
}

/** Model from a config.json or the folder that holds it. */
export function readModel(cwd: string, given: string): Model {
  const file = modelFile(cwd, given);
  const name =
    basename(file) === "config.json"
      ? basename(resolve(file, ".."))
      : basename(file, ".json").replace(/_config$/, "");
  return unwrap(parseModel(readText(file), { file, name }));
}

/** A YAML or JSON document; a syntax error names its line. */
function readYaml(file: string): { document: ReturnType<typeof parseDocument>; lines: LineCounter } {
  const lines = new LineCounter();
  const document = parseDocument(readText(file), { lineCounter: lines });
  const wrong = document.errors[0];
  if (!wrong) return { document, lines };
  const at = lines.linePos(wrong.pos[0]);
  const detail = wrong.message.split("\n")[0] as string;
  throw fail("PLAN_YAML", { detail }, { file, line: at.line, column: at.col });
}

/** What `tessera calibrate` wrote. */
export function readProfile(cwd: string, given: string): DeviceProfile {
  const file = resolve(cwd, given);
  return unwrap(parseProfile(readYaml(file).document.toJS(), file));
}

/** The named cluster as the profile measured its devices, or the machine that was measured where none is named. */
export function profiledCluster(cwd: string, named: string | undefined, given: string | undefined): Cluster {
  if (given === undefined) return readCluster(cwd, named as string);
  const profile = readProfile(cwd, given);
  return unwrap(
    withProfile(named === undefined ? profileMachine(profile) : readCluster(cwd, named), profile, given),
  );
}

/** Cluster from `preset:devices` or a YAML file; errors of a file name its line. */
export function readCluster(cwd: string, given: string): Cluster {
  const known = DEVICES.map((device) => device.id).join(", ");
  const preset = /^([\w-]+):(\d+)$/.exec(given);
  if (preset) {
    const cluster = presetCluster(preset[1] as string, Number(preset[2]));
    if (!cluster) throw fail("PLAN_CLUSTER", { text: given, known });
    return cluster;
  }
  const file = resolve(cwd, given);
  if (!existsSync(file)) throw fail("PLAN_CLUSTER", { text: given, known });
  const { document, lines } = readYaml(file);
  const result = parseCluster(document.toJS(), file, (path) => readProfile(dirname(file), path));
  if (result.ok) return result.value;
  const { error } = result;
  const path = String(error.params["path"] ?? "").match(/[^.[\]]+/g) ?? [];
  for (let depth = path.length; depth >= 0; depth--) {
    const node = document.getIn(
      path.slice(0, depth).map((part) => (/^\d+$/.test(part) ? Number(part) : part)),
      true,
    );
    const range = (node as { range?: [number, number, number] } | undefined)?.range;
    if (!range) continue;
    const at = lines.linePos(range[0]);
    throw new TesseraError(error.code, error.entry, error.params, { file, line: at.line, column: at.col });
  }
  throw error;
}

/** `--tp 1,2,4` */
export function numbers(option: string, text: string | undefined): number[] | undefined {
  if (text === undefined) return undefined;
  return text.split(",").map((part) => {
    const value = Number(part);
    if (!Number.isInteger(value) || value < 1) throw fail("PLAN_NUMBER", { option, text });
    return value;
  });
}

export const number = (option: string, text: string): number =>
  (numbers(option, text) as number[])[0] as number;

export const missing = (option: string): TesseraError => fail("PLAN_MISSING", { option });
