import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Text, TesseraError } from "../base/index.ts";
import { makeContext } from "./context.ts";
import { balance } from "./verbs/balance.ts";

/** Everything that is wrong with what a user may give `tessera balance`: a code, the file, a next step, and nothing written. */
const GOOD = '{"layers":{"0":[1,2,3,4]}}';
const FILES: Readonly<Record<string, string>> = {
  "good.json": GOOD,
  "negative.json": '{"layers":{"0":[1,-2,3,4]}}',
  "negative.csv": "layer,expert,load\n0,0,5\n0,1,-1\n",
  "nan.json": '{"layers":{"0":[1,NaN,3,4]}}',
  "nan.csv": "0,0,1\n0,1,NaN\n",
  "null.json": '{"layers":{"0":[1,null,3,4]}}',
  "words.json": '{"layers":{"0":["a","b"]}}',
  "infinite.json": '{"layers":{"0":[1e999,1,1,1]}}',
  "denormal.json": '{"layers":{"0":[5e-324,1,1,1]}}',
  "empty.json": "",
  "no-layer.json": '{"layers":{}}',
  "no-expert.json": "[[]]",
  "no-step.json": '{"steps":[]}',
  "ragged.json": "[[1,2],[1,2,3]]",
  "hole.csv": "0,0,1\n0,2,1\n",
  "cut.json": GOOD.slice(0, -4),
  "cut.csv": "layer,expert,load\n0,0,5\n0,",
  "bytes.json": "\u0001\u0002\u00ff",
  "deep.json": "[".repeat(50_000),
  "base64.json": '{"kind":"load","layers":[0],"counts":{"dtype":"int32","shape":[1,2],"b64":"@@@@"}}',
  "short.json": '{"kind":"load","layers":[0],"counts":{"dtype":"int32","shape":[1,9],"b64":"AAAA"}}',
  "many.json": JSON.stringify([Array.from({ length: 20_000 }, () => 1)]),
  "huge.json": "",
  "other-experts.json":
    '{"schema":"tessera.placement/v1","experts":8,"ranks":2,"layers":{"0":[0,1,2,3,4,5,6,7]}}',
  "other-layers.json": '{"layers":{"1":[0,1,2,3]}}',
  "other-slots.json": '{"layers":{"0":[0,1,2,3,0,1]}}',
  "other-ids.json": '{"layers":{"0":[0,1,2,9]}}',
  "eplb-layers.json": '{"physical_to_logical_map":[[0,1,2,3],[0,1,2,3]]}',
  "eplb-missing.json": '{"physical_to_logical_map":[[0,1,2,2]]}',
  "twice.json": '{"layers":{"0":[0,1,2,2]}}',
  "cut-placement.json": '{"layers":{"0":[0,1,2,',
  "cut.ndjson": '{"layer":0,"experts":4,"k":2,"length":2,"chosen":[0,1,2,',
  "trace-id.ndjson": '{"layer":0,"experts":4,"k":2,"length":2,"chosen":[0,1,2,7]}',
  "trace-k.ndjson": '{"layer":0,"experts":4,"k":3,"chosen":[0,1,2,3]}',
  "trace-many.ndjson": '{"layer":0,"experts":1e9,"k":1,"chosen":[1]}',
  "trace.ndjson": '{"layer":0,"experts":4,"k":1,"length":1,"chosen":[0,1,2,3]}',
  "tokens.ndjson": "[0,1]",
  "table.json": '{"experts":4,"layers":{"0":[[0,1],[2,9]]}}',
  "table-words.json": '{"experts":4,"layers":{"0":[["a","b"],["c","d"]]}}',
  "table-short.json": '{"experts":4,"layers":{"0":[[0,1]]}}',
  "packed.safetensors": "x".repeat(64),
};
const to = (file: string, ...more: string[]): [string[], string] => [
  ["good.json", ...more, "--previous", file],
  file,
];
const hashed = (table: string) => ["--tokens", "tokens.ndjson", "--hash-table", table];

type Case = readonly [args: readonly string[], code: string, file?: string];
const CASES: readonly Case[] = [
  ...["negative", "null", "words", "infinite", "denormal"].map(
    (name) => [[`${name}.json`], "EXPERTS_LOADS_VALUE", `${name}.json`] as const,
  ),
  [["negative.csv"], "EXPERTS_LOADS_VALUE", "negative.csv"],
  [["nan.csv"], "EXPERTS_LOADS_VALUE", "nan.csv"],
  ...["empty", "no-layer", "no-expert", "no-step"].map(
    (name) => [[`${name}.json`], "EXPERTS_LOADS_EMPTY", `${name}.json`] as const,
  ),
  [["ragged.json"], "EXPERTS_LOADS_RAGGED", "ragged.json"],
  ...[
    "nan.json",
    "hole.csv",
    "cut.json",
    "cut.csv",
    "bytes.json",
    "deep.json",
    "base64.json",
    "short.json",
  ].map((name) => [[name], "EXPERTS_LOADS_FORMAT", name] as const),
  [["many.json"], "EXPERTS_SHAPE", "many.json"],
  [["huge.json"], "EXPERTS_FILE_SIZE", "huge.json"],
  [["absent.json"], "CLI_FILE", "absent.json"],
  [["good.json", "--slots", "2"], "EXPERTS_FEW_SLOTS"],
  [["good.json", "--slots", "5"], "EXPERTS_SHAPE"],
  [["good.json", "--slots", "12"], "EXPERTS_MANY_SLOTS"],
  [["good.json", "--slots", "1000000000"], "EXPERTS_MANY_SLOTS"],
  [["good.json", "--ranks", "1000000000", "--speed", "0=1"], "EXPERTS_SHAPE"],
  [["good.json", "--nodes", "3"], "EXPERTS_SHAPE"],
  [["good.json", "--groups", "3"], "EXPERTS_SHAPE"],
  [["good.json", "--speed", "0=-1"], "EXPERTS_SHAPE"],
  [["good.json", "--speed", "2=1"], "EXPERTS_RANK"],
  [["good.json", "--slots-on", "7=3"], "EXPERTS_RANK"],
  [["good.json", "--slots-on", "0=1"], "EXPERTS_FEW_SLOTS"],
  [["good.json", "--slots-on", "0=0.5"], "EXPERTS_SHAPE"],
  ...["other-experts", "other-layers", "other-slots", "other-ids", "eplb-layers"].map(
    (name) => [to(`${name}.json`)[0], "EXPERTS_PLACEMENT_OTHER", `${name}.json`] as const,
  ),
  ...["twice.json", "eplb-missing.json"].map(
    (name) => [to(name)[0], "EXPERTS_PLACEMENT_INVALID", name] as const,
  ),
  ...["cut-placement.json", "bytes.json", "empty.json"].map(
    (name) => [to(name)[0], "EXPERTS_PLACEMENT_FORMAT", name] as const,
  ),
  [to("huge.json")[0], "EXPERTS_FILE_SIZE", "huge.json"],
  ...["cut", "trace-id", "trace-k", "trace-many"].map(
    (name) => [["--trace", `${name}.ndjson`], "EXPERTS_TRACE", `${name}.ndjson`] as const,
  ),
  ...["table", "table-words", "table-short", "cut"].map(
    (name) => [hashed(`${name}.json`), "EXPERTS_TRACE", `${name}.json`] as const,
  ),
  [["--trace", "trace.ndjson", "--tokens", "tokens.ndjson"], "EXPERTS_OPTION"],
  [["good.json", "--trace", "trace.ndjson"], "EXPERTS_OPTION"],
  [["good.json", "--order", "never.json"], "EXPERTS_OPTION"],
  [["--trace", "trace.ndjson", "--order", "never.json"], "EXPERTS_OPTION"],
  [["good.json", "--data", "packed.safetensors"], "EXPERTS_OPTION"],
  [["--scan", ".", "--data", "packed.safetensors"], "EXPERTS_OPTION"],
  [["--scan", ".", "--trace", "never.ndjson"], "EXPERTS_OPTION"],
  [["--scan", "absent", "--data", "packed.safetensors", "--trace", "never.ndjson"], "CLI_FILE"],
  [["good.json", "--ranks", "0"], "commander.invalidArgument"],
  [["good.json", "--format", "other"], "commander.invalidArgument"],
  [["good.json", "--window", "1"], "commander.invalidArgument"],
];

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tessera-faults-"));
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(folder, name), text);
  truncateSync(join(folder, "huge.json"), 3 * 2 ** 30);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function codeOf(args: readonly string[]): Promise<TesseraError | CommanderError | undefined> {
  const command = new Command("balance").exitOverride().configureOutput({ outputError: () => undefined });
  const context = makeContext({ lang: "en", json: false, quiet: true }, { ...process, cwd: () => folder });
  balance.define(command, async (run) => void (await run(context)));
  const ranks = args.includes("--ranks") ? [] : ["--ranks", "2"];
  try {
    await command.parseAsync([...args, ...ranks, "--out", "never.json"], { from: "user" });
    return undefined;
  } catch (error) {
    if (error instanceof TesseraError || error instanceof CommanderError) return error;
    throw error;
  }
}

test.each(CASES.map((one) => ({ one })))("$one.0: $one.1", async ({ one: [args, code, file] }) => {
  const error = await codeOf(args);
  expect(error?.code).toBe(code);
  if (error instanceof TesseraError) {
    const { message, next } = error.entry as { message: Text; next: Text };
    for (const text of [message, next]) expect(text.zh).not.toBe(text.en);
    if (file) expect(error.place.file).toBe(file);
  }
  expect(readdirSync(folder).toSorted()).toEqual(Object.keys(FILES).toSorted());
});
