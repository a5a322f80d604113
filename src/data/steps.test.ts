import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readLines } from "./jsonl.ts";
import { runStep, verifyStep } from "./steps.ts";
import { why, writeIndex } from "./why.ts";

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "tessera-steps-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const request = { step: "double", code: "c1", parameters: { by: 2 }, inputs: { before: "abc" } };
const output = { files: { "rows.jsonl": '{"id":"a"}\n' }, counts: { in: 1, out: 1 } };

test("a finished step is not done again, and its identity is its content", async () => {
  let worked = 0;
  const work = () => {
    worked++;
    return output;
  };
  const first = await runStep(root, request, work);
  const second = await runStep(root, request, work);
  expect([worked, first.reused, second.reused]).toEqual([1, false, true]);
  expect(second.manifest).toEqual(first.manifest);
  for (const other of [
    { ...request, code: "c2" },
    { ...request, parameters: { by: 3 } },
    { ...request, inputs: { before: "x" } },
  ]) {
    expect((await runStep(root, other, work)).folder).not.toBe(first.folder);
  }
});

test("a step that fails leaves no folder, and what a killed one left is swept away", async () => {
  await expect(
    runStep(root, request, () => {
      throw new Error("power cut");
    }),
  ).rejects.toThrow("power cut");
  expect(readdirSync(root)).toEqual([]);
  const { folder } = await runStep(root, request, () => output);
  rmSync(folder, { recursive: true });
  // A process id above the kernel's limit is nobody's; this process' parent is alive.
  for (const pid of [2 ** 22 + 1, process.ppid]) {
    mkdirSync(join(root, `.other-1.${pid}.tmp`));
    writeFileSync(join(root, `.other-1.${pid}.tmp`, "rows.jsonl"), "half a li");
  }
  const again = await runStep(root, request, () => output);
  expect(again.reused).toBe(false);
  expect(readdirSync(root).sort()).toEqual([`.other-1.${process.ppid}.tmp`, folder.split("/").at(-1)]);
});

test("a changed, shortened or missing file of a finished step is named", async () => {
  const { folder } = await runStep(root, request, () => output);
  writeFileSync(join(folder, "rows.jsonl"), '{"id":"b"}\n');
  expect(() => verifyStep(folder)).toThrow(/rows\.jsonl was changed/);
  rmSync(join(folder, "rows.jsonl"));
  expect(() => verifyStep(folder)).toThrow(/rows\.jsonl is missing/);
  writeFileSync(join(folder, "manifest.json"), "{");
  await expect(runStep(root, request, () => output)).rejects.toThrow(/DATA_STEP/);
});

test("a row that is no object is reported with file and line", () => {
  const path = join(root, "rows.jsonl");
  writeFileSync(path, '{"id":"a"}\nnot json\n');
  expect(() => readLines(path)).toThrow(
    expect.objectContaining({ code: "DATA_ROW", place: { file: path, line: 2 } }),
  );
});

test("why tells every step's decision about a sample", async () => {
  const make = (step: string, files: Record<string, string>) =>
    runStep(root, { step, code: "c", parameters: {}, inputs: {} }, () => ({ files, counts: {} }));
  const steps = [
    await make("produce", { "drafts.jsonl": '{"origin":"1/0"}\n{"origin":"1/1"}\n{"origin":"1/2"}\n' }),
    await make("gate", {
      "samples.jsonl": '{"id":"aa11","origin":"1/0"}\n{"id":"bb22","origin":"1/1"}\n',
      "dropped.jsonl": '{"origin":"1/2","reason":"infeasible"}\n',
    }),
    await make("dedup", {
      "samples.jsonl": '{"id":"aa11","origin":"1/0"}\n',
      "dropped.jsonl": '{"id":"bb22","reason":"near-duplicate","of":"aa11"}\n',
    }),
    await make("pack", { "members.jsonl": '{"row":0,"ids":["zz"]}\n{"row":1,"ids":["aa11"]}\n' }),
  ];
  writeIndex(
    root,
    steps.map(({ folder }) => folder.split("/").at(-1) as string),
  );
  const told = (id: string) =>
    why(root, id).steps.map((step) => (step.outcome === "dropped" ? step.reason : step.outcome));
  expect(told("aa")).toEqual(["kept", "kept", "kept", "kept"]);
  expect(why(root, "aa11").steps.at(-1)).toMatchObject({ file: "members.jsonl", row: 1 });
  expect(told("bb22")).toEqual(["kept", "kept", "near-duplicate", "not-concerned"]);
  expect(told("1/2")).toEqual(["kept", "infeasible", "not-concerned", "not-concerned"]);
  expect(() => why(root, "cc")).toThrow(/DATA_SAMPLE/);
  expect(() => why(join(root, "nowhere"), "aa")).toThrow(/DATA_FOLDER/);
});
