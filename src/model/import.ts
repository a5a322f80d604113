/** Hugging Face config.json -> Model. The one door: everything else in this folder takes a checked `Model`. */
import { err, ok, type Result, TesseraError, type Text } from "../base/index.ts";
import { nearest } from "../base/nearest.ts";
import { fail } from "./errors.ts";
import { ARCHITECTURES, FAMILIES } from "./families/index.ts";
import { Fields, isRecord, lineOf, type Source } from "./fields.ts";
import type { Model, StorageFormat } from "./types.ts";

export type ImportOptions = Source & { readonly name?: string };

/**
 * Reads a config.json given as text.
 *
 * @example
 * const model = unwrap(parseModel(await readFile(path, "utf8"), { file: path }));
 * // errors: MODEL_NOT_JSON, MODEL_TYPE_UNKNOWN, MODEL_FIELD_MISSING, ... with file:line:column
 */
export function parseModel(text: string, options: ImportOptions = {}): Result<Model> {
  const config = parseConfig(text, options);
  return config.ok ? importModel(config.value, { ...options, text }) : config;
}

/** The data of a config.json: JSON, or MODEL_NOT_JSON. */
export function parseConfig(text: string, { file }: Pick<ImportOptions, "file"> = {}): Result<unknown> {
  // Python writes Infinity and NaN, which JSON does not know; they only stand in fields that are not read.
  const plain = text.replaceAll(/([:[,]\s*)-?(?:Infinity|NaN)\b/g, "$1null");
  try {
    return ok(JSON.parse(plain));
  } catch (cause) {
    const { message } = cause as Error;
    return err(
      fail(
        "MODEL_NOT_JSON",
        { detail: message },
        file === undefined ? {} : { file, ...faultLine(message, text) },
        cause,
      ),
    );
  }
}

/** Where JSON broke off: as the message says, or at the end of the text where it says that there is no more. */
function faultLine(message: string, text: string): { line: number; column?: number } {
  const at = /line (\d+) column (\d+)/.exec(message);
  return at ? { line: Number(at[1]), column: Number(at[2]) } : { line: text.trimEnd().split("\n").length };
}

/** Reads a config.json that is parsed already; multimodal models give their text part. */
export function importModel(config: unknown, options: ImportOptions = {}): Result<Model> {
  try {
    return ok(read(config, options));
  } catch (error) {
    if (error instanceof TesseraError) return err(error);
    throw error;
  }
}

/** Types whose class ties embedding and head unless the config says no; published configs often leave the field out. */
const DEFAULT_TIED = new Set([
  "gemma",
  "gemma2",
  "gemma3_text",
  "gemma4",
  "gemma4_text",
  "vaultgemma",
  "cohere",
  "cohere2",
  "cohere2_moe",
  "falcon",
  "starcoder2",
  "minicpm3",
  "youtu",
  "granite_swa",
  "gpt2",
  "gpt_bigcode",
  "gpt_neo",
  "opt",
  "bloom",
  "mpt",
  "jetmoe",
  "lfm2",
  "lfm2_moe",
  "lfm3",
]);

function read(config: unknown, options: ImportOptions): Model {
  const place = options.file === undefined ? {} : { file: options.file };
  if (!isRecord(config)) throw fail("MODEL_NOT_OBJECT", {}, place);
  const inner = isRecord(config["text_config"]) ? config["text_config"] : undefined;
  const outerType = String(config["model_type"] ?? "");
  const type = knownType(inner ?? config, config, options);
  const record = {
    ...(DEFAULT_TIED.has(type) ? { tie_word_embeddings: true } : {}),
    ...(config["tie_word_embeddings"] === undefined
      ? {}
      : { tie_word_embeddings: config["tie_word_embeddings"] }),
    ...(inner ?? config),
  };
  const fields = new Fields(record, type, options);
  const parts = (FAMILIES[type] as NonNullable<(typeof FAMILIES)[string]>)(fields);
  return {
    name: options.name ?? fields.text("_name_or_path") ?? type,
    modelType: inner ? outerType : type,
    streams: 1,
    mixingRounds: 0,
    ...parts,
    maxSequence: fields.countOr(4096, "max_position_embeddings", "n_positions", "max_seq_len"),
    storage: storageOf(new Fields({ ...record, ...quantization(config, record) }, type, options)),
    ignored: Object.keys(config).filter(
      (key) => /^(vision|audio)_config$/.test(key) && isRecord(config[key]),
    ),
  };
}

/** The type under which the family table knows this config: its own, its text part's, or its class's. */
function knownType(
  text: Record<string, unknown>,
  config: Record<string, unknown>,
  options: ImportOptions,
): string {
  const place = options.file === undefined ? {} : { file: options.file };
  const own = text["model_type"] ?? config["model_type"];
  const classes = [text["architectures"], config["architectures"]].flatMap((list) =>
    Array.isArray(list) ? list : [],
  );
  const candidates = [own, ...classes.map((name) => ARCHITECTURES[String(name)])];
  for (const candidate of candidates) {
    if (typeof candidate === "string" && Object.hasOwn(FAMILIES, candidate)) return candidate;
  }
  if (own === undefined && classes.length === 0) {
    throw fail("MODEL_FIELD_MISSING", { field: "model_type", type: "?" }, place);
  }
  const name = String(own ?? classes[0]);
  throw fail(
    "MODEL_TYPE_UNKNOWN",
    { type: name, hint: closest(name), known: Object.keys(FAMILIES).join(", ") },
    options.file === undefined ? {} : { file: options.file, ...lineOf(options.text, "model_type") },
  );
}

/** The known types a person may mean: the one a slip away, and those of the same beginning. */
function closest(name: string): Text {
  const known = Object.keys(FAMILIES);
  const letters = (type: string) => type.toLowerCase().replace(/[^a-z]/g, "");
  const stem = letters(name).slice(0, 4);
  const meant = nearest(name, known);
  const alike = known.filter((type) => stem.length > 2 && letters(type).startsWith(stem));
  const near = [...new Set(meant ? [meant, ...alike] : alike)].slice(0, 6);
  if (near.length === 0) return { en: "", zh: "" };
  return { en: `; did you mean ${near.join(", ")}?`, zh: `；是否為 ${near.join("、")}？` };
}

function quantization(
  config: Record<string, unknown>,
  text: Record<string, unknown>,
): Record<string, unknown> {
  const found = text["quantization_config"] ?? config["quantization_config"] ?? {};
  return { quantization_config: found };
}

function storageOf(c: Fields): Model["storage"] {
  const dtype = c.text("torch_dtype") ?? c.text("dtype") ?? "bfloat16";
  const base: StorageFormat = dtype === "float32" ? "float32" : dtype === "float16" ? "float16" : "bfloat16";
  const text = JSON.stringify(c.sub("quantization_config")?.record ?? {}).toLowerCase();
  if (/mxfp4|nvfp4|"num_bits":4/.test(text)) {
    const isInteger = text.includes("int4") || (text.includes('"type":"int"') && !/mxfp4|nvfp4/.test(text));
    return { dense: base, experts: isInteger ? "int4" : "fp4" };
  }
  if (c.text("expert_dtype") === "fp4") return { dense: "fp8", experts: "fp4" };
  if (/fp8|e4m3|float-quantized/.test(text)) return { dense: "fp8", experts: "fp8" };
  return { dense: base, experts: base };
}
