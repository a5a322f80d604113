import { parse, stringify } from "yaml";
import { Cannot, type Keys, type Value } from "./settings.ts";

/** Text forms of dotted keys. Each writer has a reader that gives the same keys back. */

/** `--name value`, one a line; true flags stand alone; lists are separated by spaces, lists in lists by commas. */
export const toArguments = (keys: Keys): string =>
  Object.entries(keys)
    .filter(([, value]) => value !== false)
    .map(([name, value]) =>
      value === true
        ? `--${name}`
        : `--${name} ${Array.isArray(value) ? value.map((part) => String(part)).join(" ") : quote(String(value))}`,
    )
    .join(" \\\n");

const quote = (text: string): string => (/^[\w.,/:+-]+$/.test(text) ? text : `'${text}'`);

const LISTS = new Set(["recompute-modules", "offload-modules"]);
const NESTED = new Set(["parallelism.module_fqns_per_model_part"]);

export function fromArguments(text: string): Keys {
  const words = text.match(/'[^']*'|[^\s\\]+/g) ?? [];
  const keys: Keys = {};
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string;
    if (!word.startsWith("--"))
      throw new Cannot(`'${word}' stands where an option should`, `應為選項之處卻是「${word}」`);
    const values: string[] = [];
    while (i + 1 < words.length && !(words[i + 1] as string).startsWith("--")) {
      values.push((words[++i] as string).replace(/^'(.*)'$/, "$1"));
    }
    const name = word.slice(2);
    if (NESTED.has(name)) keys[name] = values.map((part) => part.split(","));
    else
      keys[name] =
        values.length === 0 ? true : values.length === 1 && !LISTS.has(name) ? (values[0] as string) : values;
  }
  return keys;
}

type Tree = { [key: string]: Value | Tree };

function nest(keys: Keys): Tree {
  const root: Tree = {};
  for (const [path, value] of Object.entries(keys)) {
    const parts = path.split(".");
    let at = root;
    for (const part of parts.slice(0, -1)) {
      at[part] ??= {};
      at = at[part] as Tree;
    }
    at[parts.at(-1) as string] = value;
  }
  return root;
}

function flatten(tree: unknown, prefix = "", out: Keys = {}): Keys {
  if (tree === null || typeof tree !== "object" || Array.isArray(tree))
    throw new Cannot("the document is no mapping", "文件不是鍵值結構");
  for (const [key, value] of Object.entries(tree)) {
    const path = prefix ? `${prefix}.${key}` : key;
    if (value !== null && typeof value === "object" && !Array.isArray(value)) flatten(value, path, out);
    else if (value !== null) out[path] = value as Value;
  }
  return out;
}

export const toYaml = (keys: Keys): string => stringify(nest(keys), { lineWidth: 110 });
export function fromYaml(text: string): Keys {
  try {
    return flatten(parse(text, { logLevel: "error" }));
  } catch (cause) {
    if (cause instanceof Cannot) throw cause;
    const why = (cause as Error).message.split("\n")[0] as string;
    throw new Cannot(why, why);
  }
}
