import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import {
  errorJson,
  EXIT,
  formatBytes,
  formatCount,
  formatSeconds,
  type Lang,
  renderError,
  unwrap,
} from "../../base/index.ts";
import { type Cluster, withProfile } from "../../cluster/index.ts";
import { casesJsonSchema, type Estimate, plainMemory } from "../../layout/index.ts";
import type { Context, Verb } from "../context.ts";
import { answerCases } from "../planner/cases.ts";
import { split } from "../planner/draw.ts";
import { readProfile, readText } from "../planner/inputs.ts";
import { memoryTable, mfuTable } from "../planner/report.ts";
import { table } from "../table.ts";

type Options = { profile?: string; schema: boolean };

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
      .option("--schema", "print the JSON Schema of cases, for editors", false)
      .action((file: string, options: Options) =>
        act((context) => (options.schema ? printSchema(context) : answer(context, file, options))),
      );
  },
};

function printSchema(context: Context) {
  const document = casesJsonSchema(context.lang);
  context.out(JSON.stringify(document, null, 2));
  context.data({ schema: "tessera.case-schema/v1", document });
  return EXIT.done;
}

function answer(context: Context, file: string, options: Options) {
  const { cwd, lang } = context;
  const profile = options.profile === undefined ? undefined : readProfile(cwd, options.profile);
  const adapt = (cluster: Cluster) =>
    profile ? unwrap(withProfile(cluster, profile, options.profile)) : cluster;
  const path = file === "-" ? undefined : resolve(cwd, file);
  const results = answerCases(
    path === undefined
      ? { text: readFileSync(0, "utf8"), base: cwd }
      : { text: readText(path), file: path, base: dirname(path) },
    adapt,
  );
  context.data({
    schema: "tessera.estimate/v1",
    results: results.map((r) =>
      r instanceof Error
        ? { ok: false, error: errorJson(r) }
        : { ok: true, ...r, memory: plainMemory(r.memory) },
    ),
  });
  const [first] = results;
  if (results.length === 1 && first instanceof Error) throw first;
  for (const result of results) if (result instanceof Error) context.talk(renderError(result, lang));
  const good = results.filter((result): result is Estimate => !(result instanceof Error));
  if (good.length > 0) context.out(estimatesTable(good, lang));
  const [only] = good;
  if (only && good.length === 1) {
    const parts = [memoryTable(only.memory, lang), split(only.time, lang), mfuTable(only.time, lang)];
    context.out(`\n${parts.join("\n\n")}`);
  }
  return good.length < results.length ? EXIT.usage : EXIT.done;
}

const BASIS = { measured: "實測", fitted: "擬合", assumed: "假設" } as const;

function estimatesTable(estimates: readonly Estimate[], lang: Lang): string {
  const p = (en: string, zh: string) => (lang === "zh" ? zh : en);
  return table(
    [
      { title: p("case", "案例") },
      { title: p("layout", "佈局") },
      { title: p("step", "步"), align: "right" },
      { title: p("tokens/s/device", "詞元/秒/加速器"), align: "right" },
      { title: "MFU", align: "right" },
      { title: p("fullest rank", "最滿的進程"), align: "right" },
      { title: p("free", "空閒"), align: "right" },
      { title: p("profile", "裝置數據") },
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
        p(e.basis, BASIS[e.basis]),
      ];
    }),
  );
}
