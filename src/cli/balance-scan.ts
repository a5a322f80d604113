import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { formatSeconds } from "../base/index.ts";
import { expertsFail } from "../experts/index.ts";
import { integerTensor, scanRouting } from "../run/index.ts";
import type { Context } from "./context.ts";
import { cliFail } from "./errors.ts";
import { progressLine } from "./progress-line.ts";

/** Options of `tessera balance` that make a pre-scan. */
export type ScanOptions = {
  readonly scan?: string;
  readonly data?: string;
  readonly rows?: number;
  readonly trace?: string;
};

/** Writes the trace that the other options read: one forward of a model over the first rows of packed data, without training. */
export async function makeScan(context: Context, options: ScanOptions): Promise<void> {
  const { scan, data, rows, trace } = options;
  if (scan === undefined) {
    const lone = data !== undefined ? "--data" : rows !== undefined ? "--rows" : undefined;
    if (lone) throw wrong(lone, "goes with --scan", "須與 --scan 並用");
    return;
  }
  if (data === undefined)
    throw wrong("--scan", "needs --data <packed.safetensors>", "需要 --data <已裝箱資料>");
  if (trace === undefined)
    throw wrong("--scan", "needs --trace <file>, where the scan is written", "需要 --trace <檔案> 存放預掃");
  const model = resolve(context.cwd, scan);
  const file = resolve(context.cwd, data);
  const config = join(model, "config.json");
  if (!existsSync(config)) throw cliFail("CLI_FILE", { file: config, why: "ENOENT" }, { file: config });
  if (!existsSync(file)) throw cliFail("CLI_FILE", { file, why: "ENOENT" }, { file });
  const [all, length] = integerTensor(file, "input_ids")?.shape ?? [];
  if (!all || !length) {
    throw wrong(
      "--data",
      `${data} has no rows "input_ids"; give the packed safetensors that training reads`,
      `${data} 沒有 "input_ids"；請給訓練所讀的已裝箱 safetensors`,
    );
  }
  const count = Math.min(rows ?? all, all);
  const line = progressLine(context);
  const text = {
    en: "scan: row {done} of {total}, {left} left",
    zh: "預掃：第 {done}/{total} 列，尚需 {left}",
  };
  try {
    const left = await scanRouting({
      model,
      data: file,
      rows: Array.from({ length: count }, (_, i) => i),
      trace: resolve(context.cwd, trace),
      env: context.env,
      threads: availableParallelism(),
      onProgress: (done, seconds) => {
        const left = formatSeconds((seconds / done) * (count - done));
        line.show(context.say(text, { done, total: count, left }));
      },
    });
    line.clear();
    const written = {
      en: "scanned {count} rows of {length} tokens, written to {trace}",
      zh: "已預掃 {count} 列，每列 {length} 個詞元，寫入 {trace}",
    };
    context.talk(context.say(written, { count, length, trace }));
    if (left.length > 0) {
      const missing = {
        en: "left out layers {left}: a table of token ids routes them and names an expert twice; see --tokens and --hash-table",
        zh: "未含第 {left} 層：由詞元編號表路由且同一專家出現兩次；見 --tokens 與 --hash-table",
      };
      context.talk(context.say(missing, { left: left.join(", ") }));
    }
  } finally {
    line.clear();
  }
}

const wrong = (option: string, en: string, zh: string) =>
  expertsFail("EXPERTS_OPTION", { option, why: `${en} / ${zh}` });
