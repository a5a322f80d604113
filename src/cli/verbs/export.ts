import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Option } from "commander";
import { catalog, EXIT } from "../../base/index.ts";
import { exportCheckpoint, listCheckpoints, paths } from "../../run/index.ts";
import type { Verb } from "../context.ts";
import { mebibytes, ProgressLine } from "../progress.ts";
import { findRun, runsFolder, shortPath } from "../runs.ts";

const fail = catalog({
  EXPORT_NO_CHECKPOINT: {
    exit: EXIT.usage,
    message: {
      en: "{run} has no checkpoint of step {step}; it has {steps}",
      zh: "{run} 沒有第 {step} 步的檢查點；現有 {steps}",
    },
    next: { en: "leave --step out for the newest", zh: "省略 --step 以取最新" },
  },
  EXPORT_EXISTS: {
    exit: EXIT.usage,
    message: { en: "{out} is there already", zh: "{out} 已存在" },
    next: { en: "name another folder with --out, or remove it", zh: "以 --out 指定其他資料夾，或先移除" },
  },
});

type Options = {
  runs?: string;
  out?: string;
  step?: string;
  dtype?: "float32" | "bfloat16";
  maxShardBytes?: string;
};

/** A checkpoint of a run as a Hugging Face folder that any stack loads. */
export const exportVerb: Verb = {
  name: "export",
  summary: { en: "turn a checkpoint into a Hugging Face folder", zh: "將檢查點轉為 Hugging Face 資料夾" },
  define(command, act) {
    command
      .argument("[run]", "name, name/id, id or folder; the newest when absent")
      .option("--runs <folder>", "folder of all runs (default: runs)")
      .option("--step <number>", "checkpoint of this step (default: the newest)")
      .option("--out <folder>", "where to write (default: export/step-N in the run folder)")
      .addOption(
        new Option("--dtype <format>", "number format of the weights on disk").choices([
          "float32",
          "bfloat16",
        ]),
      )
      .option("--max-shard-bytes <bytes>", "largest weight file")
      .action((asked: string | undefined, options: Options) =>
        act(async (context) => {
          const { folder, id } = findRun(runsFolder(context, options.runs), asked);
          const all = listCheckpoints(paths(folder).checkpoints);
          const found =
            options.step === undefined ? all.at(-1) : all.find(({ step }) => step === Number(options.step));
          if (!found) {
            const steps = all.map(({ step }) => step).join(" ") || "-";
            throw fail("EXPORT_NO_CHECKPOINT", { run: id, step: options.step ?? "?", steps });
          }
          const out =
            options.out === undefined
              ? join(folder, "export", `step-${found.step}`)
              : resolve(context.cwd, options.out);
          if (existsSync(out)) throw fail("EXPORT_EXISTS", { out: shortPath(context, out) }, { file: out });
          const worker = JSON.parse(readFileSync(paths(folder).worker, "utf8")) as {
            model: { config: string };
          };
          const line = new ProgressLine(
            context,
            { write: (text) => void process.stderr.write(text), columns: () => process.stderr.columns ?? 80 },
            () => performance.now(),
          );
          line.phase("export", 0, 1, false);
          const result = await exportCheckpoint({
            checkpoint: found.path,
            model: worker.model.config,
            out,
            dtype: options.dtype,
            maxShardBytes: options.maxShardBytes === undefined ? undefined : Number(options.maxShardBytes),
            onProgress: (done, total) => line.update({ phase: "export", ...mebibytes(done, total) }),
          });
          line.finishPhase();
          context.out(shortPath(context, out));
          context.data({
            schema: "tessera.export/v1",
            run: id,
            step: found.step,
            out,
            tensors: result.tensors,
            shards: result.shards,
            bytes: result.bytes,
          });
          return EXIT.done;
        }),
      );
  },
};
