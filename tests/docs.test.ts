import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { verbs } from "../src/cli/verbs/index.ts";

/** What the pages tell people to type: every command must parse, and the quick ones are run with the inputs that stand beside them. */
const ROOT = resolve(import.meta.dirname, "..");
const pages = (lang: "en" | "zh") => [
  lang === "en" ? "README.md" : "README.zh.md",
  ...readdirSync(join(ROOT, "docs", lang)).map((name) => `docs/${lang}/${name}`),
];

/** Bodies of fenced blocks of one language on a page. */
const blocks = (page: string, kind: string) =>
  [...readFileSync(join(ROOT, page), "utf8").matchAll(/^```(\w+)\n([\s\S]*?)^```/gm)]
    .filter((match) => match[1] === kind)
    .map((match) => match[2] as string);

/** Words as a shell takes them, with double quotes. */
const wordsOf = (text: string): string[] =>
  [...text.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? (plain as string));

/** Commands of ours on a page, without their comments. */
const commands = (page: string): { words: string[]; launcher: boolean }[] =>
  blocks(page, "sh")
    .flatMap((block) => block.split("\n"))
    .map((line) => line.replace(/\s+#.*$/, "").trim())
    .flatMap((line) => {
      const [, start, words] = /^(tessera|node bin\/tessera\.mjs) (.+)$/.exec(line) ?? [];
      return words === undefined ? [] : [{ words: wordsOf(words), launcher: start !== "tessera" }];
    });

/** Takes minutes, stays until it is ended, or needs what such a command wrote: only parsed here; the tests of the verb run it. */
const LONG = new Set(["run", "resume", "calibrate", "setup", "doctor"]);
const long = (words: readonly string[]) =>
  LONG.has(words[0] as string) || words.some((word) => ["--open", "--profile", "--scan"].includes(word));

/** A mixture large enough for the clusters of the pages. */
const MIXTURE = {
  model_type: "qwen3_moe",
  num_hidden_layers: 48,
  hidden_size: 2048,
  num_attention_heads: 32,
  num_key_value_heads: 4,
  head_dim: 128,
  intermediate_size: 6144,
  moe_intermediate_size: 768,
  num_experts: 128,
  num_experts_per_tok: 8,
  decoder_sparse_step: 1,
  vocab_size: 151936,
  max_position_embeddings: 40960,
  tie_word_embeddings: false,
};

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "docs-"));
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  write("config.json", JSON.stringify(MIXTURE));
  write("mycluster.yaml", blocks("docs/en/planner.md", "yaml")[0] as string);
  write("cases.json", blocks("docs/en/planner.md", "json")[0] as string);
  symlinkSync(join(ROOT, "examples"), join(folder, "examples"));
  const loads = (experts: number, layer: number) =>
    Array.from({ length: experts }, (_, i) => Math.round(1e6 / (i + 3 + layer)));
  const layers = { "3": loads(384, 0), "4": loads(384, 1) };
  write("loads.json", JSON.stringify({ layers }));
  write(
    "loads.csv",
    Object.entries(layers)
      .flatMap(([layer, row]) => row.map((load, expert) => `${layer},${expert},${load}`))
      .join("\n"),
  );
  // 32 samples of 8 tokens over 16 experts, top 2, and a table of 64 token ids.
  const chosen = Array.from({ length: 32 * 8 }, (_, t) => [(t * 5) % 16, (t * 5 + 1 + (t % 3)) % 16]).flat();
  write("scan.ndjson", JSON.stringify({ layer: 3, experts: 16, k: 2, length: 8, chosen }));
  const ids = Array.from({ length: 32 }, (_, n) => Array.from({ length: 8 }, (_, i) => (n * 7 + i * 3) % 64));
  write("tokens.ndjson", ids.map((sample) => JSON.stringify(sample)).join("\n"));
  const table = Array.from({ length: 64 }, (_, id) => [id % 16, (id + 5) % 16]);
  write("table.json", JSON.stringify({ experts: 16, layers: { "0": table } }));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("both languages show the same commands", () => {
  const both = (lang: "en" | "zh") =>
    pages(lang)
      .flatMap(commands)
      .map(({ words }) => words.join(" "))
      .sort();
  expect(both("zh")).toEqual(both("en"));
});

const all = pages("en").flatMap((page) => commands(page).map((one) => ({ page, ...one })));
test("the pages show commands", () => expect(all.length).toBeGreaterThan(5));

describe.each(all)("$page: $words", ({ words, launcher }) => {
  test("parses", async () => {
    const program = new Command().exitOverride();
    for (const verb of verbs) {
      const command = program.command(verb.name).exitOverride();
      command.option("--json").option("-q, --quiet").option("--lang <lang>");
      verb.define(command, async () => undefined);
    }
    await program.parseAsync(words, { from: "user" });
  });
  if (long(words)) return;
  test("runs", () => {
    const done = spawnSync(process.execPath, [join(ROOT, "bin/tessera.mjs"), ...words], {
      // A command that names the launcher is typed in the checkout.
      cwd: launcher ? ROOT : folder,
      encoding: "utf8",
      timeout: 170_000,
    });
    expect(`${done.status} ${done.stderr}`).toMatch(/^0 /);
    expect(done.stdout.length).toBeGreaterThan(0);
  });
});
