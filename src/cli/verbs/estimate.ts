import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import {
  catalog,
  errorJson,
  EXIT,
  formatBytes,
  formatCount,
  formatSeconds,
  renderError,
  TesseraError,
  unwrap,
} from "../../base/index.ts";
import { estimate as run, type Estimate, plainMemory, readCase } from "../../layout/index.ts";
import type { Verb } from "../context.ts";
import { withProfile } from "../../cluster/index.ts";
import { readProfile, readText } from "../planner/inputs.ts";
import { type Located, located, parseLocated } from "../planner/locate.ts";
import { mfuTable } from "../planner/report.ts";
import { split } from "../planner/draw.ts";
import { table } from "../table.ts";

const fail = catalog({
  ESTIMATE_JSON: {
    exit: EXIT.usage,
    message: { en: "the cases are not JSON: {detail}", zh: "案例不是 JSON：{detail}" },
    next: { en: "see docs/en/planner.md, section Estimate", zh: "見 docs/zh/planner.md 的「估算」一節" },
  },
});

/** Time and memory of given layouts: JSON cases in, JSON out. */
export const estimate: Verb = {
  name: "estimate",
  summary: {
    en: "time and memory of given layouts: JSON cases in, JSON out",
    zh: "估算給定佈局的時間與記憶體：輸入 JSON 案例，輸出 JSON",
  },
  define(command, act) {
    command
      .argument("[file]", "a case, or a list of cases; - or nothing reads standard input", "-")
      .option("--profile <file>", "what tessera calibrate measured on these devices")
      .action((file: string, options: { profile?: string }) =>
        act((context) => {
          const profile =
            options.profile === undefined ? undefined : readProfile(context.cwd, options.profile);
          const path = file === "-" ? undefined : resolve(context.cwd, file);
          const text = path === undefined ? readFileSync(0, "utf8") : readText(path);
          const base = path === undefined ? context.cwd : dirname(path);
          const cases = parseCases(text, path);
          const results = cases.list.map((data, index) => {
            try {
              const read = readCase(withModel(data, base), index, (cluster) =>
                profile ? unwrap(withProfile(cluster, profile, options.profile)) : cluster,
              );
              return read.ok ? run(read.value) : at(read.error, cases, index, path);
            } catch (cause) {
              // A model file that is missing or broken spoils its own case only.
              if (cause instanceof TesseraError) return cause;
              throw cause;
            }
          });
          const failed = results.filter((result) => result instanceof Error).length;
          context.data({
            schema: "tessera.estimate/v1",
            results: results.map((r) =>
              r instanceof Error
                ? { ok: false, error: errorJson(r) }
                : { ok: true, ...r, memory: plainMemory(r.memory) },
            ),
          });
          if (results.length === 1 && results[0] instanceof Error) throw results[0];
          for (const result of results)
            if (result instanceof Error) context.talk(renderError(result, context.lang));
          const good = results.filter((result): result is Estimate => !(result instanceof Error));
          if (good.length > 0) context.out(estimatesTable(good));
          const only = good[0];
          if (only && good.length === 1)
            context.out(`\n${split(only.time, context.lang)}\n\n${mfuTable(only.time, context.lang)}`);
          return failed > 0 ? EXIT.usage : EXIT.done;
        }),
      );
  },
};

type Cases = {
  readonly list: readonly unknown[];
  /** Path of a case in the text. */
  readonly path: (index: number) => string;
  readonly source: () => Located;
};

/** JSON, or YAML: a case, a list of cases, or `{ cases: [...] }`. */
function parseCases(text: string, file: string | undefined): Cases {
  let source: Located | undefined;
  const parsed = () => (source ??= parseLocated(text));
  let data: unknown;
  try {
    // JSON first: it is many times faster than YAML, and long lists are JSON.
    data = JSON.parse(text);
  } catch (cause) {
    const { document, lines } = parsed();
    const wrong = document.errors[0];
    data = wrong ? undefined : document.toJS();
    if (wrong || data === null || typeof data !== "object") {
      const at = wrong ? lines.linePos(wrong.pos[0]) : undefined;
      throw fail(
        "ESTIMATE_JSON",
        { detail: (cause as Error).message },
        { ...(file === undefined ? {} : { file }), ...(at ? { line: at.line, column: at.col } : {}) },
        cause,
      );
    }
  }
  const wrapped = (data as { cases?: unknown } | null)?.cases;
  if (Array.isArray(data)) return { list: data, path: (i) => `[${i}].`, source: parsed };
  if (Array.isArray(wrapped)) return { list: wrapped, path: (i) => `cases[${i}].`, source: parsed };
  return { list: [data], path: () => "", source: parsed };
}

/** The error with its line in the file of cases. */
function at(error: TesseraError, cases: Cases, index: number, file: string | undefined): TesseraError {
  if (file === undefined || error.code !== "ESTIMATE_CASE") return error;
  return located(error, cases.source(), file, cases.path(index));
}

/** `model` may be a path to a config.json, relative to the case file. */
function withModel(data: unknown, base: string): unknown {
  const model = (data as { model?: unknown } | null)?.model;
  if (typeof model !== "string") return data;
  const path = resolve(base, model);
  const file = existsSync(path) && !path.endsWith(".json") ? resolve(path, "config.json") : path;
  return { ...(data as object), model: unwrap(readJson(file)) };
}

function readJson(file: string): { ok: true; value: unknown } | { ok: false; error: Error } {
  try {
    return { ok: true, value: JSON.parse(readText(file)) };
  } catch (cause) {
    return cause instanceof SyntaxError
      ? { ok: false, error: fail("ESTIMATE_JSON", { detail: cause.message }, { file }, cause) }
      : { ok: false, error: cause as Error };
  }
}

function estimatesTable(estimates: readonly Estimate[]): string {
  return table(
    [
      { title: "case" },
      { title: "layout" },
      { title: "step", align: "right" },
      { title: "tokens/s/device", align: "right" },
      { title: "MFU", align: "right" },
      { title: "fullest rank", align: "right" },
      { title: "free", align: "right" },
      { title: "profile" },
    ],
    estimates.map((e) => {
      const worst = e.memory.classes[e.memory.worst]?.memory;
      return [
        e.name,
        e.layoutName,
        formatSeconds(e.time.seconds),
        formatCount(Math.round(e.time.tokensPerSecondPerDevice)),
        `${(100 * e.time.mfu.model).toFixed(2)} %`,
        formatBytes((worst?.reserved ?? 0) + (worst?.framework ?? 0)),
        formatBytes(e.free),
        e.basis,
      ];
    }),
  );
}
