import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, expect, test } from "vitest";
import {
  encodeTensors,
  generalText,
  produceGeneral,
  SPECIAL_TOKENS,
  trainTokenizer,
} from "../src/data/index.ts";
import { completionOf, draftAt, promptOf } from "../src/domains/or/index.ts";

const python = resolve(process.env["TESSERA_VENV"] ?? resolve(import.meta.dirname, "../.venv"), "bin/python");
const folder = mkdtempSync(join(tmpdir(), "tessera-python-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const run = (code: string): unknown =>
  JSON.parse(
    execFileSync(python, ["-c", code, folder], {
      encoding: "utf8",
      timeout: 170_000,
      env: { ...process.env, HF_HUB_OFFLINE: "1" },
    })
      .trim()
      .split("\n")
      .at(-1) ?? "",
  );

test("transformers loads our tokenizer and gives the same ids and texts", () => {
  const problems = Array.from({ length: 150 }, (_each, i) => draftAt(i, { seed: 3 }));
  const general = produceGeneral({ seed: 3, count: 150, split: "train" }).map(generalText);
  const own = problems.map(({ problem, answer }) => promptOf(problem) + completionOf(answer));
  const odd = [
    "",
    " ",
    "a  5",
    "\ufeffx  5",
    "a\u00a05 \u0085x",
    "½ ① 5x１２ 3",
    "é̃ नमस्ते १२",
    "<|bos|>x<|end|> y",
    "\r\n\t 5  6   7",
    "👍🏽 ok 5",
    "12,345.67 + 8 <= 9",
    "漢字 5 個 x1+x2",
  ];
  const texts = [...own, ...general, ...odd];
  const tokenizer = trainTokenizer([...own, ...general], { vocabularySize: 1200, special: SPECIAL_TOKENS });
  expect(tokenizer.size).toBe(1200);
  tokenizer.save(folder);
  writeFileSync(join(folder, "texts.json"), JSON.stringify(texts));
  const theirs = run(`
import json, sys
from transformers import AutoTokenizer
t = AutoTokenizer.from_pretrained(sys.argv[1])
texts = json.load(open(sys.argv[1] + "/texts.json"))
ids = [t(x)["input_ids"] for x in texts]
print(json.dumps({"ids": ids, "back": [t.decode(i) for i in ids], "special": [t.bos_token_id, t.eos_token_id, t.pad_token_id], "size": len(t)}))
`);
  expect(theirs).toEqual({
    ids: texts.map((text) => tokenizer.encode(text)),
    back: texts,
    special: [1, 4, 0],
    size: 1200,
  });
});

test("the safetensors library reads our files", () => {
  const data = Int32Array.from([1, -100, 3, 2147483647, -5, 6]);
  writeFileSync(
    join(folder, "t.safetensors"),
    encodeTensors(
      {
        labels: { dtype: "I32", shape: [2, 3], data },
        mask: { dtype: "U8", shape: [1], data: Uint8Array.of(7) },
      },
      { format: "x" },
    ),
  );
  const theirs = run(`
import json, sys
from safetensors import safe_open
with safe_open(sys.argv[1] + "/t.safetensors", "pt") as f:
    print(json.dumps({"labels": f.get_tensor("labels").tolist(), "mask": f.get_tensor("mask").tolist(), "format": f.metadata()["format"]}))
`);
  expect(theirs).toEqual({
    labels: [
      [1, -100, 3],
      [2147483647, -5, 6],
    ],
    mask: [7],
    format: "x",
  });
});
